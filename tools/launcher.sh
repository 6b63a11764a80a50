#!/bin/sh
# Compiles the launcher: `tools/launcher.sh OUTPUT`. Whom it serves and which paths it trusts are compiled in, so that
# nobody can tell it otherwise when it runs. Two more commands are for one that was compiled elsewhere:
#   tools/launcher.sh --uid FILE      prints the uid that FILE serves, or nothing
#   tools/launcher.sh --check FILE    prints why FILE is not what a compilation here would give; nothing where it is
# The values come from the environment, as make hands its variables on:
#   SERVICE_UID    whom it serves; default: the user dialback's
#   PREFIX         where it will be installed; default: /usr/local
#   SELF_PATH, RSYNC_PATH, DIALBACK_PATH, NEVER_PATH    its own place, and what it starts and reads, one by one
#   CC, LAUNCH_CFLAGS    the compiler and all of its options
set -eu
cd "$(dirname "$0")/.."

fail() {
  printf 'launcher: Cannot %s\nnext: %s\n' "$1" "$2" >&2
  exit 1
}

action=compile
case ${1-} in --uid | --check) action=${1#--}; shift ;; esac
output=${1-}
[ -n "$output" ] || { echo 'usage: tools/launcher.sh [--uid | --check] FILE' >&2; exit 2; }

# The text that src/launcher/launch.c has as BUILT_FOR. A text in the file ends with NUL, and has no line feed in it.
built_for() { tr '\n\0' '\0\n' <"$1" | sed -n '/^dialback-launch built for uid=[0-9]* self=/p'; }

if [ "$action" = uid ]; then
  built_for "$output" | sed 's/.* built for uid=\([0-9]*\) .*/\1/'
  exit
fi

prefix=${PREFIX:-/usr/local}
self=${SELF_PATH:-$prefix/libexec/dialback/launch}
rsync=${RSYNC_PATH:-/usr/bin/rsync}
dialback=${DIALBACK_PATH:-$prefix/bin/dialback}
never=${NEVER_PATH:-/etc/dialback/never}
for path in "$self" "$rsync" "$dialback" "$never"; do
  # They become strings of C: nothing in them may end one or mean something in one (`?` can begin a trigraph).
  case $path in
    *[\"\\?[:cntrl:]]*)
      fail "compile in \"$path\": quotes, backslashes, question marks and control characters are not taken" \
        'use another PREFIX'
      ;;
    */../* | */.. | */./* | */. | *//* | */)
      fail "compile in \"$path\": it has . or .. or an empty name in it" 'write it plainly'
      ;;
    /*) ;;
    *) fail "compile in \"$path\": it is not absolute" 'write it from / on' ;;
  esac
done

uid=${SERVICE_UID:-$(id -u dialback 2>/dev/null || true)}
case $uid in
  '')
    fail 'compile the launcher: whom it serves is not known, for there is no user dialback' \
      'make launcher SERVICE_UID=NUMBER'
    ;;
  *[!0-9]* | 0*)
    fail "compile the launcher for SERVICE_UID=\"$uid\": it must be a number, and not root's" \
      'make launcher SERVICE_UID=NUMBER'
    ;;
esac

if [ "$action" = check ]; then
  newer=$(find src/launcher tools/launcher.sh tools/linkat.sh -type f -newer "$output" | head -n 1)
  found=$(built_for "$output")
  if [ "$found" != "dialback-launch built for uid=$uid self=$self rsync=$rsync dialback=$dialback never=$never" ]; then
    found=${found#dialback-launch }
    echo "it was ${found:-built by another version}, and not for uid=$uid self=$self rsync=$rsync dialback=$dialback never=$never"
  elif [ -n "$newer" ]; then
    echo "it is older than $newer"
  fi
  exit
fi

cc=${CC:-gcc}
command -v "$cc" >/dev/null ||
  fail "compile the launcher: there is no $cc" 'tools/prepare.sh --packages launcher, or CC=COMPILER'

# Static: no library is looked for when it runs with privilege. The rest makes a mistake in it hard to use.
flags=${LAUNCH_CFLAGS:-"-std=c17 -O2 -static-pie -fPIE -Wall -Wextra -Wconversion -Wshadow -Wformat=2 -Werror
  -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fstack-clash-protection
  -Wl,-z,relro,-z,now,-z,noexecstack"}
if [ -z "${LAUNCH_CFLAGS-}" ]; then
  case $("$cc" -dumpmachine) in x86_64-* | i?86-*) flags="$flags -fcf-protection" ;; esac
fi

# Beside the result, so that the last step is a rename: who is stopped before it leaves the old file.
made=$(mktemp "$output.XXXXXX")
# In a folder of our own: a linker removes its output and makes it anew, and in /tmp another user could make it in between.
work=$(mktemp -d "${TMPDIR:-/tmp}/dialback-launcher.XXXXXX")
library=$work/linkat.so
mountpoints=$work/mountpoints.so
trap 'rm -rf "$made" "$work"' EXIT
trap 'exit 130' INT TERM HUP
tools/linkat.sh "$library" && tools/linkat.sh "$mountpoints" mountpoints ||
  fail 'compile the libraries in src/launcher: the compiler has said why' 'tools/prepare.sh --packages launcher'
# $flags is a list of words.
# shellcheck disable=SC2086
"$cc" $flags -DSERVICE_UID="$uid" -DSELF_PATH="\"$self\"" -DRSYNC_PATH="\"$rsync\"" \
  -DLINKAT_LIBRARY="\"$library\"" -DMOUNTPOINTS_LIBRARY="\"$mountpoints\"" -DDIALBACK_PATH="\"$dialback\"" -DNEVER_PATH="\"$never\"" -o "$made" src/launcher/launch.c ||
  fail 'compile src/launcher/launch.c: the compiler has said why' 'tools/prepare.sh --packages launcher'
chmod 755 "$made"
mv -f "$made" "$output"
