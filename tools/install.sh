#!/bin/sh
# Installs dialback on this machine, or uninstalls it: `tools/install.sh install|uninstall`. make calls it with these
# variables in the environment:
#   PREFIX         Default: /usr/local.
#   DESTDIR        For packages: the folder for all files. The script then changes no other path and needs no root.
#   SERVICE_UID    The uid for the user dialback, if the script has to create that user. With DESTDIR it can also be the
#                  absolute path of a file: the launcher reads the uid there, and the printed script writes it.
#   TARGET         With DESTDIR: the processor to install for, x64 or arm64. Default: this machine's.
#   INHERITED      1: give rsync its capability, for capability = "inherited", and build a `launch` that can lend it.
#                  0: take both away again. Default: keep the present state.
# Each step can be repeated, and does not touch a file that is already right. Files come into place by one rename, with
# owner, mode and capability set before it. So an interrupted installation leaves the old file, never half of one.
set -eu
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
umask 022

account=dialback
home=/var/lib/dialback
config=/etc/dialback
cron=/etc/cron.d/dialback
hook=/etc/dpkg/dpkg.cfg.d/dialback
rsync=/usr/bin/rsync
lent=cap_dac_read_search
found_mark='# It had it before: uninstall leaves it.'

say() { echo "install: $1"; }
fail() {
  printf 'install: Cannot %s\nnext: %s\n' "$1" "$2" >&2
  exit 1
}

prefix=${PREFIX:-/usr/local}
prefix=${prefix%/}
case $prefix in
  '') fail 'use PREFIX=/: there is no /libexec' 'use PREFIX=/usr' ;;
  /*[!A-Za-z0-9._/+-]* | [!/]*)
    fail "use PREFIX=\"$prefix\": it must be absolute, and only letters, digits and . _ / + - are taken" \
      'choose another PREFIX'
    ;;
esac
stage=${DESTDIR-}
case $stage in '' | /*) ;; *) stage=$PWD/$stage ;; esac
stage=${stage%"${stage##*[!/]}"} # DESTDIR=/ is this machine
if [ -n "$stage" ]; then live=no; else live=yes; fi
# Another processor's programs in dist/ have its name at their end.
suffix=
case ${TARGET-}:$(uname -m) in
  :* | x64:x86_64 | arm64:aarch64) ;;
  arm64:x86_64)
    [ "$live" = no ] || fail 'install for TARGET=arm64: this machine has another processor' 'make install, without TARGET'
    suffix=-arm64
    CC=${CC:-aarch64-linux-gnu-gcc}
    export CC
    ;;
  *) fail "install for TARGET=$TARGET on $(uname -m): it can only be built on that processor" 'use a machine with it' ;;
esac
executable=dist/dialback$suffix
# The launcher and dialback find each other by the paths that the kernel tells them, which have no links in them.
if [ "$live" = yes ]; then prefix=$(realpath -m "$prefix"); fi

binary=$prefix/bin/dialback
launcher=$prefix/libexec/dialback/launch
jail=$prefix/libexec/dialback/jail
share=$prefix/share/dialback
# systemd looks below these two, and below no other prefix.
case $prefix in
  /usr | /usr/local) units=$prefix/lib/systemd/system ;;
  *) units=/etc/systemd/system ;;
esac

# Files that the administrator may change: name in share/, place.
offered="never:$config/never excludes:$config/excludes client.toml:$config/client.toml.sample
  host.toml:$config/host.toml.sample dialback.cron.d:$cron"
hook_files=$(ls share/hooks)
monitoring_files=$(ls share/monitoring)
# Files for many machines, in folders of their own.
fleet_files=$(cd share && find ansible cloud-init -type f | sort)
unit_files='dialback-backup.service dialback-backup.timer dialback-web.service dialback-web.socket'
# Where each reader of manual pages and each shell looks: name in docs/man or share/completion, place.
man=$prefix/share/man
pages="dialback.1:$man/man1/dialback.1.gz dialback.toml.5:$man/man5/dialback.toml.5.gz
  dialback-hooks.7:$man/man7/dialback-hooks.7.gz"
# Debian's zsh looks in site-functions below /usr/local only, and in vendor-completions below /usr.
zsh=$prefix/share/zsh/site-functions
if [ "$prefix" = /usr ] && [ -e /etc/debian_version ]; then zsh=$prefix/share/zsh/vendor-completions; fi
completions="dialback.bash:$prefix/share/bash-completion/completions/dialback dialback.zsh:$zsh/_dialback
  dialback.fish:$prefix/share/fish/vendor_completions.d/dialback.fish"
# When the timer elapsed last: systemd writes it (Persistent= in systemd.timer(5)), and `systemctl disable` leaves it.
stamp=/var/lib/systemd/timers/stamp-dialback-backup.timer

work=
temporary=
clean_up() { rm -rf "$work" "$temporary"; }
start_work() {
  trap clean_up EXIT
  trap 'exit 130' INT TERM HUP
  work=$(mktemp -d)
  for name in never excludes client.toml host.toml dialback.cron dialback-host.cron dialback.cron.d $unit_files; do
    sed "s|/usr/local/|${prefix%/}/|g" "share/$name" >"$work/$name"
  done
  mkdir "$work/hooks" "$work/monitoring" "$work/man"
  # Without a name and a time in it, the same page gives the same bytes.
  for pair in $pages; do sed "s|/usr/local/|${prefix%/}/|g" "docs/man/${pair%%:*}" | gzip -9n >"$work/man/${pair%%:*}.gz"; done
  for name in $monitoring_files; do sed "s|/usr/local/|${prefix%/}/|g" "share/monitoring/$name" >"$work/monitoring/$name"; done
  for name in $hook_files; do sed "s|/usr/local/|${prefix%/}/|g" "share/hooks/$name" >"$work/hooks/$name"; done
}

share_changed=
changed= # whether there was anything to do
note() {
  changed=yes
  say "$1"
}
# For the files in share/, report only the folder's name, once.
told() {
  case $1 in
    "$prefix/share"/*) changed=yes share_changed=yes ;;
    "removed $prefix/share"/*) changed=yes share_changed=yes ;;
    *) note "$1" ;;
  esac
}

has_capability() { [ "$live" = no ] || setcap -q -v "$2" "$1" >/dev/null 2>&1; }
has_none() { [ "$live" = no ] || [ -z "$(getcap "$1")" ]; }
is_as() { # PATH MODE GROUP CAPABILITY
  if [ -n "$4" ]; then has_capability "$1" "$4" || return 1; else has_none "$1" || return 1; fi
  [ "$live" = no ] || [ "$(stat -c '%U:%G' "$1")" = "root:$3" ] || return 1
  [ "$(stat -c %a "$1")" = "$2" ]
}

# lay SOURCE PLACE MODE [GROUP [CAPABILITY]]: PLACE becomes a copy of SOURCE.
lay() {
  place=$stage$2 group=${4:-root} capability=${5-}
  if [ -f "$place" ] && [ ! -L "$place" ] && cmp -s "$1" "$place" && is_as "$place" "$3" "$group" "$capability"; then
    return
  fi
  [ ! -d "$place" ] || fail "lay down \"$2\": a folder is in its place" 'move it away'
  mkdir -p "${place%/*}"
  rm -f "${place%/*}"/.dialback-?????? # what an installation that was killed has left
  temporary=$(mktemp "${place%/*}/.dialback-XXXXXX")
  cat "$1" >"$temporary"
  # In this order: a change of owner takes a capability away.
  if [ "$live" = yes ]; then chown "root:$group" "$temporary"; fi
  chmod "$3" "$temporary"
  if [ -n "$capability" ] && [ "$live" = yes ]; then
    setcap "$capability" "$temporary" || true
    has_capability "$temporary" "$capability" ||
      fail "give \"$2\" its capability $capability: its file system does not keep it" \
        'choose a PREFIX on a file system that does, as ext4, XFS and Btrfs do'
  fi
  mv -fT "$temporary" "$place"
  temporary=
  told "$2${capability:+ ($capability)}"
}

# offer NAME PLACE: lays down what the admin may change. It is replaced as long as it is as an installation laid it
# down; that one's copy is in share/, and is renewed after it.
offer() {
  place=$stage$2
  if [ ! -e "$place" ] && [ ! -L "$place" ] || cmp -s "$stage$share/$1" "$place" || cmp -s "$work/$1" "$place"; then
    lay "$work/$1" "$2" 644
  elif ! cmp -s "$stage$share/$1" "$work/$1"; then
    note "$2 is kept, since it was changed; this version's is $share/$1"
  fi
  lay "$work/$1" "$share/$1" 644
}

# An account that can write a folder above the launcher could put another program in its place.
check_folders() {
  [ "$(realpath -m "$1")" = "$1" ] ||
    fail "install \"$1\": it leads to \"$(realpath -m "$1")\"" 'choose a PREFIX whose bin and libexec are not links'
  at=$1
  while :; do
    if [ -e "$at" ] && [ -n "$(find "$at" -maxdepth 0 \( ! -user 0 -o -perm /022 \))" ]; then
      # Another account's folder is its home, or below it; a sticky one is for everybody.
      if [ -n "$(find "$at" -maxdepth 0 -user 0 ! -perm -1000)" ]; then
        close="chmod go-w \"$at\""
      else
        close='choose a PREFIX in which root alone can change every folder, such as /usr/local'
      fi
      fail "install \"$1\": others than root can write the folder \"$at\" ($(stat -c '%U:%G, mode %a' "$at"))" "$close"
    fi
    [ "$at" != / ] || break
    at=$(dirname "$at")
  done
  if findmnt -n -o OPTIONS -T "$(existing "$1")" 2>/dev/null | grep -qw nosuid; then
    fail "install \"$1\": it is on a file system that is mounted nosuid, where capabilities mean nothing" \
      'choose another PREFIX'
  fi
}
existing() {
  at=$1
  while [ ! -e "$at" ]; do at=$(dirname "$at"); done
  echo "$at"
}

useradd_line() {
  echo "useradd --system${1:+ --uid $1} --gid $account --home-dir $home --no-create-home" \
    "--shell /bin/sh --password '*' $account"
}

# No password (sshd takes `!` for a locked account, `*` for one that has none), and a shell that runs commands: the
# one-time sshd starts the gate through it.
make_account() { # sets uid
  renumber='choose another SERVICE_UID'
  if [ "$compiles" = no ]; then renumber=$recompile; fi
  if ! getent group "$account" >/dev/null; then
    groupadd --system "$account"
    note "group $account"
  fi
  if ! getent passwd "$account" >/dev/null; then
    if [ -n "${SERVICE_UID-}" ] && other=$(getent passwd "$SERVICE_UID"); then
      fail "make the user $account with the number $SERVICE_UID: the user ${other%%:*} has it" "$renumber"
    fi
    # The line is made of our own words and a number.
    eval "$(useradd_line "${SERVICE_UID-}")"
    note "user $account (uid $(id -u "$account"))"
  elif ! id -nG "$account" | tr ' ' '\n' | grep -qx "$account"; then
    usermod --append --groups "$account" "$account"
    note "user $account is now in the group $account"
  fi
  uid=$(id -u "$account")
  [ "$uid" != 0 ] || fail "serve the user $account: it is root" "vipw, and give $account another number than 0"
  [ "${SERVICE_UID:-$uid}" = "$uid" ] ||
    fail "serve SERVICE_UID=$SERVICE_UID: the user $account has the number $uid" 'make install, without SERVICE_UID'
  if [ ! -e "$home" ]; then
    install -d -m 700 -o "$account" -g "$account" "$home"
    note "$home"
  fi
}

# With capability = "inherited" the kernel gives rsync what dialback may pass on. dpkg puts a new file in rsync's place
# at each upgrade, so there is a hook. The hook is also the sign that this script gave the capability.
grant_rsync() {
  [ -x "$rsync" ] || fail "give rsync its capability: there is no $rsync" 'apt-get install rsync'
  found=
  if [ -e "$hook" ]; then
    if grep -qxF "$found_mark" "$hook"; then found=yes; fi
  elif ! has_none "$rsync"; then
    has_capability "$rsync" "$lent=ei" ||
      fail "give rsync the capability $lent=ei: it has another one (getcap: \"$(getcap "$rsync")\")" "setcap -r $rsync"
    found=yes
  fi
  { cat share/dpkg-rsync; echo "${found:+$found_mark}"; } >"$work/dpkg-rsync"
  # The hook first: without it, uninstall would not take the capability away.
  lay "$work/dpkg-rsync" "$hook" 644
  if ! has_capability "$rsync" "$lent=ei"; then
    setcap "$lent=ei" "$rsync"
    has_capability "$rsync" "$lent=ei" ||
      fail "give rsync the capability $lent=ei: its file system does not keep it" 'use capability = "confined"'
    note "$rsync ($lent=ei)"
  fi
}
revoke_rsync() {
  [ -e "$stage$hook" ] || return 0
  if [ "$live" = yes ] && ! grep -qsxF "$found_mark" "$hook" && has_capability "$rsync" "$lent=ei"; then
    setcap -r "$rsync"
    note "$rsync has no capability any more"
  fi
  remove "$hook"
}

remove() { # PLACE
  if [ -e "$stage$1" ] || [ -L "$stage$1" ]; then
    rm -f "$stage$1"
    told "removed $1"
  fi
}

check() {
  case ${SERVICE_UID-} in
    /*)
      [ "$live" = no ] ||
        fail "serve SERVICE_UID=\"$SERVICE_UID\": a file is for packages" 'make install, without SERVICE_UID'
      ;;
    *[!0-9]* | 0*)
      fail "serve SERVICE_UID=\"$SERVICE_UID\": it must be a number, and not root's" 'make install, without SERVICE_UID'
      ;;
  esac
  case ${INHERITED-} in
    '' | 0 | 1) ;;
    *) fail "use INHERITED=\"$INHERITED\": it is 0 or 1" 'make install, without INHERITED' ;;
  esac
  if [ "$live" = no ]; then return; fi
  [ "$(id -u)" = 0 ] || fail "change \"$prefix\", /etc and the accounts: only root can" \
    "sudo make $1 (or, to make a package, make $1 DESTDIR=FOLDER)"
}

recompile='rm dist/launch dist/jail, and make install again with a compiler (Debian: gcc libc6-dev)'

# Uses files that were built elsewhere if this machine cannot build them. Sets builds and compiles.
plan_build() {
  builds=yes compiles=yes
  if make -q "$executable"; then
    builds=no
  elif ! command -v npm >/dev/null && [ ! -x node_modules/.bin/node ]; then
    if [ -e "$executable" ]; then
      fail "build $executable: there is no npm, and the one that is there is older than its sources" \
        "install npm; or, if it was built from these sources: touch $executable"
    fi
    fail "build $executable: there is no npm" "install npm, or use a tree with a built $executable"
  fi
  if [ -e "dist/launch$suffix" ] && [ -e "dist/jail$suffix" ] && ! { command -v "${CC:-gcc}" && [ -e /usr/include/stdlib.h ]; } >/dev/null; then
    compiles=no
  fi
}
prepare() { # for what
  if [ "$builds" = yes ] && command -v npm >/dev/null; then tools/prepare.sh "$1"; else tools/prepare.sh --packages "$1"; fi
}

# 1 if `launch` has to be built with `lend`. The hook exists if an earlier installation had INHERITED=1.
lends() { if [ -n "${INHERITED-}" ]; then echo "$INHERITED"; elif [ -e "$stage$hook" ]; then echo 1; else echo 0; fi; }

# Whether the launcher, compiled elsewhere, is for this uid and these paths.
check_launcher() { # UID
  for kind in launch jail; do
    found=$(SERVICE_UID=$1 PREFIX=$prefix INHERITED=$(lends) tools/launcher.sh --check "$kind" "dist/$kind$suffix")
    [ -z "$found" ] || fail "use the compiled launcher dist/$kind$suffix: $found" "$recompile"
  done
}

# Installs only the files, below DESTDIR too.
lay_files() {
  if [ "$compiles" = yes ]; then
    for kind in launch jail; do
      SERVICE_UID=$uid PREFIX=$prefix INHERITED=$(lends) tools/launcher.sh --renew "$kind" "dist/$kind$suffix"
    done
  fi
  # In this order: a dialback that starts during an upgrade finds all that it needs. Older ones need only launch.
  lay "dist/jail$suffix" "$jail" 755
  lay "$executable" "$binary" 755 root "$lent=i"
  lay "dist/launch$suffix" "$launcher" 750 "$account" "$lent=ep"
  for pair in $offered; do offer "${pair%%:*}" "${pair#*:}"; done
  lay "$work/dialback.cron" "$share/dialback.cron" 644
  lay "$work/dialback-host.cron" "$share/dialback-host.cron" 644
  # A config can name these without a copy, because only root can write them.
  for name in $hook_files; do lay "$work/hooks/$name" "$share/hooks/$name" 755; done
  for name in $monitoring_files; do
    case $name in *.*) mode=644 ;; *) mode=755 ;; esac
    lay "$work/monitoring/$name" "$share/monitoring/$name" "$mode"
  done
  for name in $fleet_files; do lay "share/$name" "$share/$name" 644; done
  for unit in $unit_files; do lay "$work/$unit" "$units/$unit" 644; done
  for pair in $pages; do lay "$work/man/${pair%%:*}.gz" "${pair#*:}" 644; done
  for pair in $completions; do lay "share/completion/${pair%%:*}" "${pair#*:}" 644; done
  if [ -n "$share_changed" ]; then say "$prefix/share (manual pages, completion, and the samples as they came in dialback/)"; fi
}

install_here() {
  plan_build
  if [ "$compiles" = no ]; then
    SERVICE_UID=${SERVICE_UID:-$(id -u "$account" 2>/dev/null || tools/launcher.sh --uid dist/launch)}
    check_launcher "$SERVICE_UID"
    prepare install-prebuilt
  else
    prepare install
  fi
  make -s dist/dialback
  check_folders "$prefix/bin"
  check_folders "$prefix/libexec/dialback"
  check_folders "$config"
  dist/dialback version >/dev/null ||
    fail 'install dist/dialback: it does not run on this machine' 'see "Requirements in detail" in docs/manual.md'
  if [ "$compiles" = no ]; then
    for kind in launch jail; do
      "dist/$kind" 2>&1 | grep -q '^dialback-launch: ' ||
        fail "install dist/$kind: it does not run on this machine" "$recompile"
    done
  fi
  make_account
  lay_files
  case ${INHERITED-} in 1) grant_rsync ;; 0) revoke_rsync ;; esac
  if [ -z "$changed" ]; then say 'nothing to do: all of it is there already'; fi
  if [ -n "$changed" ] && [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
  if [ ! -e /etc/systemd/system/timers.target.wants/dialback-backup.timer ] && ! grep -q '^[^#].*backup$' "$cron"; then
    echo "There are a timer and a cron line, and both are off. When a backup has gone well, switch one of them on:"
    echo "systemctl enable --now dialback-backup.timer, or the # before the last line of $cron"
  fi
  case $prefix in /usr | /usr/local) command=dialback ;; *) command=$binary ;; esac
  tell_next "$command"
}

# A machine that is set up goes on; else it is a client or a backup host, and only a person knows which.
tell_next() { # COMMAND
  # --pty: the account does not get root's terminal (src/os/account.ts, asAccount()).
  as="runuser --pty -u $account -- $1"
  own=$(getent passwd "$account" | cut -d: -f6)/.config/dialback
  for file in client.toml host.toml; do
    if [ -e "$own/$file" ] || [ -e "$config/$file" ]; then
      echo "next: $as doctor"
      return
    fi
  done
  echo "next, on a client: $as init"
  echo "next, on a backup host: $as enroll NAME KEYFILE (init on the client prints it with the key)"
}

# For packages. Standard output is what their post-install has to do, as a script; all else goes to standard error.
install_staged() {
  plan_build >&2
  uid=${SERVICE_UID:-$(id -u "$account" 2>/dev/null || { [ "$compiles" = yes ] || tools/launcher.sh --uid "dist/launch$suffix"; })}
  [ -n "$uid" ] || fail "compile the launcher: the number of the user $account is not known, since there is none here" \
    'make install DESTDIR=FOLDER SERVICE_UID=NUMBER'
  {
    if [ "$compiles" = yes ]; then prepare launcher; else check_launcher "$uid"; fi
    make -s "$executable"
    lay_files
    if [ "${INHERITED-}" = 1 ]; then lay share/dpkg-rsync "$hook" 644; fi
    if [ -z "$changed" ]; then say 'nothing to do: all of it is there already'; fi
  } >&2
  number=$uid served="uid $uid" record="test \"\$(id -u $account)\" = $uid"
  case $uid in
    /*)
      number='' served="the uid in $uid"
      # By a rename: a launcher that starts meanwhile reads the old file or the new one.
      record="(umask 022 && id -u $account >$uid.new && chown root:root $uid.new && mv -f $uid.new $uid)"
      ;;
  esac
  cat <<END
# Run these commands as root where these files are installed (root owns them; the launcher serves only $served):
getent group $account >/dev/null || groupadd --system $account
getent passwd $account >/dev/null || $(useradd_line "$number")
$record
test -e $home || install -d -m 700 -o $account -g $account $home
chown root:root $jail
chmod 755 $jail
chown root:$account $launcher
chmod 750 $launcher
setcap $lent=ep $launcher
setcap $lent=i $binary
END
  if [ "${INHERITED-}" = 1 ]; then echo "setcap $lent=ei $rsync"; fi
  echo 'if test -d /run/systemd/system; then systemctl daemon-reload; fi'
}

uninstall() {
  if [ ! -e "$stage$binary" ] && [ ! -e "$stage$launcher" ] && [ ! -e "$stage$share" ]; then
    # Without installed files below this PREFIX, a file in /etc could belong to another installation.
    say "nothing to do: dialback is not installed below $prefix"
    return
  fi
  if [ "$live" = yes ] && command -v systemctl >/dev/null && [ -e "$units/dialback-backup.timer" ]; then
    # Without a systemd that runs this only takes away the link for the next start.
    if [ -d /run/systemd/system ]; then now=--now; else now=; fi
    systemctl --quiet disable $now dialback-backup.timer || true
    remove "$stamp"
  fi
  if [ "$live" = yes ] && command -v systemctl >/dev/null && [ -e "$units/dialback-web.socket" ]; then
    if [ -d /run/systemd/system ]; then now=--now; else now=; fi
    systemctl --quiet disable $now dialback-web.socket || true
  fi
  revoke_rsync
  for unit in $unit_files; do remove "$units/$unit"; done
  for pair in $pages $completions; do remove "${pair#*:}"; done
  for pair in $offered; do
    name=${pair%%:*} place=${pair#*:}
    if cmp -s "$stage$share/$name" "$stage$place"; then
      remove "$place"
    elif [ "$place" = "$cron" ] && [ -e "$stage$cron" ]; then
      # It would go on calling what is no longer there.
      mkdir -p "$stage$config"
      mv --backup=numbered -T "$stage$cron" "$stage$config/cron.d.saved"
      note "removed $cron; since it was changed, it is kept as $config/cron.d.saved"
    fi
    remove "$share/$name"
  done
  remove "$share/dialback.cron"
  remove "$share/dialback-host.cron"
  for name in $hook_files; do remove "$share/hooks/$name"; done
  for name in $monitoring_files; do remove "$share/monitoring/$name"; done
  for name in $fleet_files; do remove "$share/$name"; done
  for folder in ansible cloud-init; do
    if [ ! -d "$stage$share/$folder" ]; then continue; fi
    find "$stage$share/$folder" -name '.dialback-??????' -type f -delete
    find "$stage$share/$folder" -depth -type d -empty -delete
  done
  rm -f "$stage$prefix/bin"/.dialback-?????? "$stage${launcher%/*}"/.dialback-?????? "$stage$share"/hooks/.dialback-?????? \
    "$stage$share"/monitoring/.dialback-??????
  if [ -n "$share_changed" ]; then say "removed $share, the manual pages and the completion"; fi
  remove "$launcher"
  remove "$jail"
  # Folders that others use as well stay, since they are not empty.
  for pair in $pages $completions; do
    place=$stage${pair#*:}
    folder=${place%/*}
    rm -f "$folder"/.dialback-??????
    case $folder in
      # Debian's zsh has this folder, and Debian /usr/local/share/man, also when they are empty.
      /usr/local/share/zsh/*) if command -v zsh >/dev/null; then continue; fi ;;
      /usr/local/share/man/*) rmdir "$folder" 2>/dev/null || true; continue ;;
    esac
    rmdir "$folder" "${folder%/*}" 2>/dev/null || true
  done
  for folder in "$share/hooks" "$share/monitoring" "$share" "${launcher%/*}" "$prefix/libexec" "$prefix/lib/systemd/system" "$prefix/lib/systemd" \
    "$config"; do
    rmdir "$stage$folder" 2>/dev/null || true
  done
  remove "$binary"
  if [ "$live" = yes ]; then tell_kept; fi
}

# Prints the user's own files that stay, and the commands that remove them as well.
tell_kept() {
  if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
  kept=
  for folder in "$config" "$home"; do if [ -e "$folder" ]; then kept="$kept $folder"; fi; done
  echo "Kept: what was backed up to this machine (host.toml's \`store\` says where)${kept:+,$kept}," \
    "and the account $account."
  stores=$(find "$home" -xdev -maxdepth 4 -name store.json -printf '%h ' 2>/dev/null || true)
  if [ -n "$stores" ]; then
    echo "Backups are in $home, which nothing else has: ${stores% }"
    echo "To remove the rest, move them to another place first. Until then $home and the account have to stay."
  else
    echo "To remove those as well: ${kept:+rm -r$kept; }userdel $account"
  fi
  shells=$(awk -F: -v shell="$binary" '$7 == shell { print $1 }' /etc/passwd)
  if [ -n "$shells" ]; then
    echo "The login shell of $shells was $binary. To let it run commands again: usermod --shell /bin/sh $account"
  fi
}

case ${1-} in
  install)
    check install
    start_work
    if [ "$live" = yes ]; then install_here; else install_staged; fi
    ;;
  uninstall)
    check uninstall
    uninstall
    ;;
  *) echo 'usage: tools/install.sh install|uninstall' >&2; exit 2 ;;
esac
