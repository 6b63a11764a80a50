#!/busybox sh
# shellcheck shell=dash
# The first program of a test machine, in its initrd. It loads the kernel modules for the disks, mounts them, sets the
# name and the address, and starts systemd. The kernel's command line carries its arguments:
#   lab.name=NAME  lab.data=FS:DISK (mounted at /srv/store)  lab.with=DISK (mounted read-only at /mnt/with)
b=/busybox
$b mkdir -p /proc
$b mount -t proc proc /proc
$b mount -t devtmpfs dev /dev
for module in /m/*.ko; do $b insmod "$module" 2>/dev/null; done
name=lab data='' data_disk='' with_disk=''
for word in $($b cat /proc/cmdline); do
  case $word in
    lab.name=*) name=${word#*=} ;;
    lab.data=*) data=${word#*=} data_disk=${data#*:} data=${data%:*} ;;
    lab.with=*) with_disk=${word#*=} ;;
  esac
done
until $b mount -t ext4 /dev/vda /new 2>/dev/null; do $b usleep 50000; done
# eth0 is qemu's user network. Only the ssh connections of `lab` use it.
$b ip link set lo up
$b ip addr add 10.0.2.15/24 dev eth0
$b ip link set eth0 up
echo "$name" >/new/etc/hostname
echo "127.0.0.1 localhost $name" >/new/etc/hosts
# The other disks are mounted here, not by systemd, so that the boot need not wait for udev. After a power cut the mount
# replays the journal of the store's file system.
if [ -n "$data" ]; then
  for module in /m."$data"/*.ko; do $b insmod "$module" 2>/dev/null; done
  $b mkdir -p /new/srv/store
  $b mount -t "$data" "/dev/$data_disk" /new/srv/store || echo "lab: Cannot mount /srv/store" >/dev/console
fi
if [ -n "$with_disk" ]; then $b mkdir -p /new/mnt/with && $b mount -t ext4 -o ro "/dev/$with_disk" /new/mnt/with; fi
$b umount /proc
$b mount --move /dev /new/dev
exec $b switch_root /new /sbin/init
