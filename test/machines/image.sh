#!/usr/bin/env bash
# image.sh SUITE ARCH: builds $LAB_DATA/images/SUITE-ARCH/{root.img,kernel,initrd} from the packages of a Debian suite; `lab
# image` calls it once for each. root.img is a plain ext4 file system. The kernel is the suite's "cloud" flavor: the same source
# as the ordinary one, with fewer drivers. There is no boot loader: qemu loads the kernel and the initrd made here.
# SUITE+boot has a boot loader, an initramfs, udev and a network of its own too, so that a copy of it can start by itself. Its
# packages are in $LAB_DATA/images/SUITE+boot-ARCH.debs. SUITE+ceph and SUITE+gluster have the packages of a cluster of one node.
set -euo pipefail
PATH=/usr/sbin:/usr/bin:/sbin:/bin # mmdebstrap may call python3 for each package: use the system's
here=$(dirname "$(realpath "$0")")
suite=${1%%+*} arch=$2 boot=${1#"${1%+boot}"} cluster='' native=$(dpkg --print-architecture)
[ "$(id -u)" = 0 ] || { echo 'image: Cannot build an image: mmdebstrap needs root' >&2; exit 1; }
out=${LAB_DATA:?}/images/$1-$arch key=$LAB_DATA/id_ed25519 mirror=${LAB_MIRROR:-}
# The mirror that apt uses on this machine, without the last folder ("/debian/").
# shellcheck disable=SC2016  # apt-get replaces $(REPO_URI), not the shell
[ -n "$mirror" ] || mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | sed -n 's#/debian/*$##p' | sort -u | head -1)
[ -n "$mirror" ] || { echo 'image: Cannot find a Debian mirror: apt has none in its sources' >&2; exit 1; }
# The programs that dialback runs, make for `make install`, and what a machine needs to start. Each package costs time, so there are no others.
packages=systemd,systemd-sysv,udev,kmod,busybox-static,openssh-server,openssh-client,rsync,iproute2,procps,e2fsprogs
packages+=,acl,attr,libcap2-bin,libstdc++6,make,systemd-timesyncd,dbus
# The kernel is then installed, with an initramfs. sfdisk and apt are for a rescue system.
if [ -n "$boot" ]; then packages+=,linux-image-cloud-$arch,initramfs-tools,grub-pc,fdisk,apt; fi
case $1 in
  *+ceph) cluster=ceph-mon,ceph-mgr,ceph-osd,ceph-mds,ceph-common,ceph-fuse ;;
  *+gluster) cluster=glusterfs-server ;;
esac
if [ -n "$cluster" ]; then packages+=,$cluster; fi
sources=("deb $mirror/debian $suite main")
[ "$suite" = sid ] || sources+=("deb $mirror/debian-security $suite-security main")

work=$LAB_DATA/images/.$1-$arch.$$ tree=$LAB_DATA/images/.$1-$arch.$$/tree
mkdir -p "$tree"
trap 'rm -rf --one-file-system "$work"' EXIT # a killed mmdebstrap can leave /proc and /sys mounted: stay out of them
trap 'exit 130' INT TERM HUP
export TMPDIR=$work

# The tar file of the packages is kept: a change in the lines below it then costs seconds and not another bootstrap.
bootstrap() { # VARIANT PACKAGES [OPTION…]
  mmdebstrap --mode=root --variant="$1" --architectures="$arch" --include="$2" "${@:3}" --format=tar \
    --aptopt='Acquire::Languages "none"' --aptopt='Acquire::Check-Valid-Until "false"' \
    --aptopt='APT::Install-Recommends "false"' --aptopt='APT::Sandbox::User "root"' --dpkgopt='force-unsafe-io' \
    "$suite" "$work/root.tar" "${sources[@]}"
  mv "$work/root.tar" "$out.tar"
}
# The kernel is unpacked and not installed, since its scripts would ask for an initramfs. `dpkg-deb -x` would replace the
# link /lib by a folder, and tar does not.
# shellcheck disable=SC2016  # variables of the hook's shell
kernel_hook='cd "$1/tmp" && export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" &&
  apt-get -q download "$(apt-cache depends --important linux-image-cloud-'$arch' | sed -n "s/.*Depends: //p" | head -1)" &&
  dpkg-deb --fsys-tarfile ./linux-image-*.deb | tar -x --keep-directory-symlink -C "$1" && rm ./linux-image-*.deb'
# SUITE+boot has its packages beside it, as a repository for apt: what a machine needs that was backed up without their files.
# shellcheck disable=SC2016  # variables of the hook's shell
if [ -n "$boot" ]; then
  kernel_hook='cd "'$work'" && mkdir debs && cd debs && export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" &&
    dpkg-query --admindir="$1/var/lib/dpkg" -W -f "\${Package}:\${Architecture}=\${Version}\n" | xargs apt-get -q download &&
    dpkg-scanpackages --multiversion . >Packages'
fi
unpack() { tar -C "$tree" --xattrs --xattrs-include='*' -xf "$@"; }

if [ "$arch" = "$native" ]; then
  if [ ! -e "$out.tar" ] || [ -n "$boot" -a ! -e "$out.debs" ]; then
    bootstrap essential "$packages" --customize-hook="$kernel_hook"
    if [ -n "$boot" ]; then rm -rf "$out.debs" && mv "$work/debs" "$out.debs"; fi
  fi
  unpack "$out.tar"
else
  # The native image of the suite has the same packages, configured. The files that configuring makes, in /etc and /var, are
  # the same on every architecture. They are taken from there, so no program of the other architecture has to run.
  [ -e "$LAB_DATA/images/$suite-$native.tar" ] || "$0" "$suite" "$native"
  unpack "$LAB_DATA/images/$suite-$native.tar" ./etc ./var
  if [ ! -e "$out.tar" ]; then
    names=$(dpkg-query --admindir="$tree/var/lib/dpkg" -W -f '${Package}\n' | paste -sd,)
    bootstrap extract "$names,linux-image-cloud-$arch" --skip=check/qemu
  fi
  unpack "$out.tar" --exclude=./etc --exclude=./var
  rm -f "$tree/etc/ld.so.cache"
  mkdir -p "$tree"/{proc,sys,run,srv,mnt,tmp} && chmod 1777 "$tree/tmp"
fi

# One key pair is root's and the host key of all machines, so that `lab` knows the host key before the first connection.
rm -f "$tree"/etc/ssh/ssh_host_* "$tree/etc/resolv.conf" "$tree/usr/sbin/policy-rc.d"
install -d -m 700 "$tree/root/.ssh"
install -m 600 "$key.pub" "$tree/root/.ssh/authorized_keys"
install -m 600 "$key" "$tree/etc/ssh/ssh_host_ed25519_key"
install -m 644 "$key.pub" "$tree/etc/ssh/ssh_host_ed25519_key.pub"
printf 'UseDNS no\nPrintMotd no\n' >>"$tree/etc/ssh/sshd_config"
: >"$tree/etc/machine-id" # empty: made at the first boot ("uninitialized" would start systemd-firstboot's questions)
: >"$tree/etc/fstab"
mkdir -p "$tree"/etc/systemd/{system,journald}.conf.d
printf '[Manager]\nDefaultTimeoutStartSec=15min\n' >"$tree/etc/systemd/system.conf.d/lab.conf" # emulation is slow
printf '[Journal]\nStorage=persistent\n' >"$tree/etc/systemd/journald.conf.d/lab.conf"
ln -sf /lib/systemd/system/multi-user.target "$tree/etc/systemd/system/default.target"
uuid=$(cat /proc/sys/kernel/random/uuid)
own_units='systemd-udev-trigger systemd-networkd'
if [ -n "$boot" ]; then
  own_units=
  echo "UUID=$uuid / ext4 errors=remount-ro 0 1" >"$tree/etc/fstab"
  printf '[Match]\nName=eth0\n[Network]\nAddress=10.0.2.15/24\n' >"$tree/etc/systemd/network/eth0.network"
  ln -sf /lib/systemd/system/systemd-networkd.service "$tree/etc/systemd/system/multi-user.target.wants/"
  cat >>"$tree/etc/default/grub" <<'END'
GRUB_TIMEOUT=0
GRUB_CMDLINE_LINUX_DEFAULT="quiet console=ttyS0 net.ifnames=0 no_timer_check mitigations=off random.trust_cpu=on audit=0"
GRUB_TERMINAL=serial
END
fi
# Units that a test machine does not need. udevd runs without a trigger: devtmpfs makes the device nodes.
# shellcheck disable=SC2086  # several names
for unit in ${own_units:+$(printf '%s.service ' $own_units)} {getty@tty1,serial-getty@ttyS0,serial-getty@ttyAMA0,getty-static,ldconfig}.service \
  systemd-{udev-settle,firstboot,update-utmp,networkd-wait-online,timesyncd,resolved}.service \
  systemd-{pstore,hwdb-update,binfmt}.service proc-sys-fs-binfmt_misc.automount modprobe@{drm,configfs,fuse}.service \
  {dev-hugepages,dev-mqueue,sys-kernel-debug,sys-kernel-tracing}.mount {e2scrub_all,fstrim}.timer e2scrub_reap.service; do
  ln -sf /dev/null "$tree/etc/systemd/system/$unit"
done

version=$(basename "$(echo "$tree"/lib/modules/*)")
depmod -b "$tree" "$version"
cp "$tree/boot/vmlinuz-$version" "$work/kernel"
initrd=$work/initrd.d
pack_modules() { # FOLDER MODULE…: copies modules and what they depend on; the number in the name is the order of loading
  local number=100 verb path name
  mkdir -p "$initrd/$1"
  while read -r verb path _; do
    name=$(basename "$path") name=${name%%.ko*}
    if [ "$verb" != insmod ] || compgen -G "$initrd/$1/*-$name.ko" >/dev/null; then continue; fi
    case $path in *.xz) xz -dc "$path" ;; *.zst) zstd -dc "$path" ;; *) cat "$path" ;; esac >"$initrd/$1/$((number++))-$name.ko"
  done < <(for module in "${@:2}"; do modprobe -d "$tree" -S "$version" --show-depends "$module"; done)
}
pack_modules m virtio_pci virtio_blk ext4 virtio_net virtio_rng
pack_modules m.xfs xfs
pack_modules m.btrfs btrfs
mkdir "$initrd/dev" "$initrd/new"
cp "$tree/bin/busybox" "$initrd/busybox"
cp "$here/init.sh" "$initrd/init"
(cd "$initrd" && find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0) >"$work/initrd"

# Without the ext4 features that a 5.10 kernel does not know.
mkfs.ext4 -q -F -L root -U "$uuid" -O '^orphan_file,^metadata_csum_seed' -m 0 -d "$tree" "$work/root.img" 4G
{ dpkg-query --admindir="$tree/var/lib/dpkg" -W rsync openssh-server systemd libc6; echo "kernel $version"; } >"$work/versions"
rm -rf --one-file-system "$tree" "$initrd" "$work"/mmdebstrap.* "$out"
mv -T "$work" "$out"
