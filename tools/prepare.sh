#!/bin/sh
# Installs missing packages for a purpose: `tools/prepare.sh build|launcher|try|test|test-long|web|versions|machines|bench|fuzz|install|install-prebuilt|deb|rpm|release`.
# `--packages` before it omits npm's part. It upgrades one package, rsync, and only if `try` and `test` cannot work with the installed
# one. Debian packages need root; for an ordinary user it prints the command. It starts no service: an sshd that it installs stays
# off, since dialback runs its own during a backup.
set -eu
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin # where sshd is, and where a user's PATH may not lead

npm_too=yes
if [ "${1-}" = --packages ]; then npm_too=no; shift; fi

# what:package; a command that is run, or, where a package brings none, a file by its absolute path, which may be a pattern.
# Of package|package the first one that the package lists have is installed.
for_try='ssh:openssh-client ssh-keygen:openssh-client ssh-agent:openssh-client ssh-add:openssh-client
  sshd:openssh-server rsync:rsync setpriv:util-linux flock:util-linux nice:coreutils ionice:util-linux
  mkfifo:coreutils'
# To build for arm64 on another processor.
for_arm64='aarch64-linux-gnu-gcc:gcc-aarch64-linux-gnu /usr/aarch64-linux-gnu/include/stdlib.h:libc6-dev-arm64-cross'
if [ "$(uname -m)" = aarch64 ]; then for_arm64=; fi
for_launcher='gcc:gcc /usr/include/stdlib.h:libc6-dev'
# The second brings clang's sanitizers and libFuzzer, whichever version of clang there is. In Debian 11 clang itself has them.
for_fuzz='clang:clang /usr/lib/llvm-*/lib/clang/*/lib/linux/libclang_rt.fuzzer-*.a:libclang-rt-dev|clang'
for_prebuilt="$for_try setcap:libcap2-bin getfattr:attr gzip:gzip"
for_install="$for_prebuilt $for_launcher"
for_test='setfacl:acl getfacl:acl setfattr:attr perl:perl-base strace:strace ps:procps fuser:psmisc ip:iproute2
  nft:nftables cron:cron ncdu:ncdu systemd-analyze:systemd sqlite3:sqlite3 curl:curl bsdtar:libarchive-tools gpg:gpg gpg-agent:gpg-agent age:age script:bsdutils
  mandoc:mandoc man:man-db zsh:zsh fish:fish /usr/share/bash-completion/bash_completion:bash-completion
  mkfs.ext4:e2fsprogs mkfs.xfs:xfsprogs mkfs.btrfs:btrfs-progs duperemove:duperemove losetup:mount'
for_test="$for_test $for_arm64"
# For tests that only `make test-long` runs: lintian, promtool, rsnapshot, restic, rclone, and the package managers of other distributions.
for_long='lintian:lintian rpmlint:rpmlint promtool:prometheus rpm:rpm rpmbuild:rpm createrepo_c:createrepo-c dnf:dnf zypper:zypper
  matchpathcon:selinux-utils pacman:pacman-package-manager makepkg:makepkg repo-add:pacman-package-manager fakeroot:fakeroot rsnapshot:rsnapshot
  restic:restic rclone:rclone'
# For the Debian package.
for_deb="$for_launcher setcap:libcap2-bin dpkg-deb:dpkg strip:binutils gzip:gzip git:git ssh-keygen:openssh-client lintian:lintian"
# For the rpm.
for_rpm="$for_launcher setcap:libcap2-bin rpmbuild:rpm rpmlint:rpmlint strip:binutils gzip:gzip git:git"
# For a release, with packages for both processors.
for_release="$for_deb $for_rpm $for_arm64"
# For root file systems of other suites (test/versions), which bring their own programs.
for_versions="$for_launcher strip:binutils mmdebstrap:mmdebstrap /usr/share/keyrings/debian-archive-keyring.gpg:debian-archive-keyring
  unshare:util-linux nsenter:util-linux flock:util-linux ip:iproute2 setfattr:attr getfattr:attr setfacl:acl perl:perl-base"
# For emulated machines with file systems of their own (test/machines), and to build for them, arm64 too.
for_machines="$for_launcher $for_arm64 qemu-system-x86_64:qemu-system-x86
  qemu-system-aarch64:qemu-system-arm qemu-img:qemu-utils mmdebstrap:mmdebstrap depmod:kmod cpio:cpio
  xz:xz-utils zstd:zstd mkfs.ext4:e2fsprogs mkfs.xfs:xfsprogs mkfs.btrfs:btrfs-progs ssh:openssh-client
  ssh-keygen:openssh-client flock:util-linux git:git dpkg-scanpackages:dpkg-dev"
# For whole runs beside other programs, which tools/runs/programs.ts unpacks from Debian 13 with mmdebstrap, and for plots.
for_bench='mmdebstrap:mmdebstrap /usr/share/keyrings/debian-archive-keyring.gpg:debian-archive-keyring gnuplot:gnuplot-nox
  unshare:util-linux mkfs.ext4:e2fsprogs mkfs.xfs:xfsprogs mkfs.btrfs:btrfs-progs'
# For the pages of `web` in a browser (test/web), which needs a font with many scripts.
for_web="$for_launcher setfattr:attr getfattr:attr chromium:chromium fc-list:fontconfig
  /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf:fonts-dejavu-core"
# For a playbook against three machines, which only `make test-long` runs.
for_ansible='ansible-playbook:ansible-core /usr/lib/python3/dist-packages/apt:python3-apt'
case ${1-} in
  build) needed='' ;;
  launcher) needed=$for_launcher ;;
  try) needed=$for_try ;;
  test) needed="$for_install $for_fuzz $for_test" ;;
  web) needed=$for_web ;;
  versions) needed=$for_versions ;;
  machines) needed=$for_machines ;;
  bench) needed="$for_install $for_test $for_bench" ;;
  test-long) needed="$for_install $for_fuzz $for_test $for_long $for_ansible" ;;
  fuzz) needed=$for_fuzz ;;
  deb)
    needed=$for_deb
    if [ "${DEB_ARCHITECTURE-}" = arm64 ]; then needed="$for_deb $for_arm64"; fi
    ;;
  release) needed=$for_release ;;
  rpm) needed=$for_rpm ;;
  install) needed=$for_install ;;
  install-prebuilt) needed=$for_prebuilt ;;
  *) echo "usage: tools/prepare.sh [--packages] build|launcher|try|test|test-long|web|versions|machines|bench|fuzz|install|install-prebuilt|deb|rpm|release" >&2; exit 2 ;;
esac

policy=/usr/sbin/policy-rc.d
saved=$policy.before-dialback
mark='put here by tools/prepare.sh of dialback'
restore_policy() {
  if [ -e "$saved" ]; then mv -f "$saved" "$policy"; elif grep -qs "$mark" "$policy"; then rm -f "$policy"; fi
}

# Debian asks $policy before a package starts its service; 101 is "not allowed".
forbid_services() {
  restore_policy # what a run that was killed has left
  # Keep an existing file that forbids it (as in a container's image).
  if [ -x "$policy" ] && { rc=0; "$policy" ssh start >/dev/null 2>&1 || rc=$?; [ "$rc" = 101 ]; }; then return; fi
  if [ -e "$policy" ]; then mv -f "$policy" "$saved"; fi
  printf '#!/bin/sh\n# %s\nexit 101\n' "$mark" >"$policy"
  chmod 755 "$policy"
}

# The package's own script enables the service for the next boot; without systemd that is a link for a later one.
# Arguments: the service as init(8) has it, and systemd's units.
disable_service() {
  service=$1
  shift
  if command -v systemctl >/dev/null; then systemctl disable "$@" >/dev/null 2>&1 || true; fi
  if command -v deb-systemd-helper >/dev/null; then deb-systemd-helper disable "$@" >/dev/null 2>&1 || true; fi
  if command -v update-rc.d >/dev/null; then update-rc.d "$service" disable >/dev/null 2>&1 || true; fi
}

# Also where the installation fails or is interrupted: it may have come as far as the service.
clean_up() {
  case $packages in *openssh-server*) disable_service ssh ssh.service ssh.socket ;; esac
  case " $packages " in *' cron '*) disable_service cron cron.service ;; esac
  case $packages in *prometheus*) disable_service prometheus prometheus.service ;; esac
  restore_policy
}

# apt keeps the archive's time on the lists themselves, so the folders tell when they were fetched.
lists_are_fresh() {
  lists=/var/lib/apt/lists
  [ -n "$(find $lists -maxdepth 1 -name '*_Packages*' 2>/dev/null | head -n 1)" ] &&
    [ -n "$(find $lists $lists/partial /var/lib/apt/periodic/update-success-stamp -maxdepth 0 -mtime -1 2>/dev/null)" ]
}

# Old lists name old versions, and packages that are no longer there.
refresh_lists() {
  if lists_are_fresh; then return; fi
  echo 'prepare: the package lists are older than a day or absent: apt-get update'
  apt-get update -q || echo 'prepare: Cannot refresh the package lists; the old ones are used' >&2
}

# choose_package FIRST|SECOND: the first that is in the package lists.
choose_package() {
  choices=$1
  while [ "${choices%%|*}" != "$choices" ]; do
    if apt-cache show "${choices%%|*}" >/dev/null 2>&1; then break; fi
    choices=${choices#*|}
  done
  echo "${choices%%|*}"
}

apt_install() {
  DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "$@"
}

install_packages() {
  trap clean_up EXIT
  trap 'exit 130' INT TERM HUP
  forbid_services
  refresh_lists
  # The words are packages.
  # shellcheck disable=SC2046
  set -- $(for each; do choose_package "$each"; done)
  # Lists of the same day can name files that are gone: fetch them and try once more.
  apt_install "$@" || { apt-get update -q && apt_install "$@"; }
  clean_up
  trap - EXIT INT TERM HUP
}

# is_there PATTERN: whether any file has such a name.
is_there() {
  # shellcheck disable=SC2086
  for each in $1; do if [ -e "$each" ]; then return; fi; done
  return 1
}

commands='' packages=''
set -f # the patterns among them are is_there's to expand
for pair in $needed; do
  case $pair in
    /*) if (set +f; is_there "${pair%%:*}"); then continue; fi ;;
    *) if command -v "${pair%%:*}" >/dev/null; then continue; fi ;;
  esac
  commands="$commands ${pair%%:*}"
  case " $packages " in *" ${pair#*:} "*) ;; *) packages="$packages ${pair#*:}" ;; esac
done
set +f

if [ -n "$packages" ]; then
  if ! command -v apt-get >/dev/null; then
    echo "prepare: Cannot install$commands: there is no apt-get" >&2
    echo "next: install the packages that bring them (in Debian:$packages)" >&2
    exit 1
  elif [ "$(id -u)" != 0 ]; then
    echo "prepare: Cannot run without$commands (packages:$packages): only root can install them" >&2
    echo "next: sudo tools/prepare.sh --packages $1" >&2
    exit 1
  fi
  echo "prepare: installing$packages"
  # $packages is a list of words.
  # shellcheck disable=SC2086
  install_packages $packages
fi

# npm writes that file last: an installation that was broken off, or that is older than the lock, is redone.
installed=node_modules/.package-lock.json
if [ "$npm_too" = yes ] && { [ ! -e "$installed" ] || [ package-lock.json -nt "$installed" ]; }; then
  echo "prepare: npm ci --ignore-scripts"
  # Only errors: under node 18 and 20 npm warns that pkg wants a newer one, which it gets (node_modules/.bin/node).
  npm ci --ignore-scripts --loglevel=error
  # npm 8.19 to 11.0 (node 18, 20 and 22) omits this link, because it removes the link of the same name that belongs to node for the
  # other processor. npm 11.19 does not.
  case "$(uname -m)" in x86_64) cpu=x64 ;; aarch64) cpu=arm64 ;; *) cpu=$(uname -m) ;; esac
  if [ ! -e node_modules/.bin/node ] && [ -x "node_modules/node-linux-$cpu/bin/node" ]; then
    ln -s "../node-linux-$cpu/bin/node" node_modules/.bin/node
  fi
  if [ ! -x node_modules/.bin/node ]; then
    echo "prepare: Cannot build here: there is no node for $(uname -sm) among the npm packages" >&2
    echo "next: use Linux on x86_64 or aarch64; npm must not leave out optional packages" >&2
    exit 1
  fi
fi

# The version does not show whether rsync works, since distributions backport bugs and fixes. So try it with one file.
try_rsync() { node_modules/.bin/node tools/rsync-trial.ts; }

require_rsync() {
  if found=$(try_rsync); then return; fi
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then refresh_lists; fi
  # It prints "Inst rsync ..." where there is another version than the installed one.
  if ! apt-get install --simulate rsync 2>/dev/null | grep -q '^Inst rsync '; then
    next='install a newer rsync; there is none in the package lists'
  elif [ "$(id -u)" != 0 ]; then
    next='sudo sh -c "apt-get update && apt-get install rsync"'
  else
    echo "prepare: Cannot use the installed rsync: $found"
    echo 'prepare: upgrading rsync'
    install_packages rsync
    if found=$(try_rsync); then return; fi
    next='install another rsync: the newest in the package lists does not work either'
  fi
  echo "prepare: Cannot use the installed rsync: $found" >&2
  echo "next: $next" >&2
  exit 1
}

case "$npm_too $1" in 'yes try' | 'yes test' | 'yes test-long') require_rsync ;; esac
