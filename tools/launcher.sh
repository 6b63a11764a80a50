#!/bin/sh
# Compiles one of the two programs of the launcher: `tools/launcher.sh launch|jail OUTPUT`. The account that it serves and the paths
# that it trusts are compiled in, so that no caller can change them. Three more commands are for a file that is there already:
#   tools/launcher.sh --uid FILE                    Prints the uid that FILE serves. Prints no text if FILE is not a launch, or reads it from a file.
#   tools/launcher.sh --check launch|jail FILE      Prints the difference between FILE and the result of a compilation here, if any.
#   tools/launcher.sh --renew launch|jail OUTPUT    Compiles only if OUTPUT is not the result of a compilation here.
# make passes these variables in the environment:
#   SERVICE_UID    The account that launch serves. Default: the user dialback. An absolute path is a file that has its number:
#                  launch reads it at each start, for packages.
#   INHERITED      1: launch can lend its capability to an rsync without a jail (`lend`). Default: 0, it cannot.
#   PREFIX         The PREFIX of the installation. Default: /usr/local.
#   SELF_PATH, RSYNC_PATH, DIALBACK_PATH, NEVER_PATH    Its own path, and the paths of the files that it starts and reads.
#   CC, LAUNCH_CFLAGS    The compiler and all of its options.
set -eu
cd "$(dirname "$0")/.."

fail() {
  printf 'launcher: Cannot %s\nnext: %s\n' "$1" "$2" >&2
  exit 1
}

usage() {
  echo 'usage: tools/launcher.sh [--check|--renew] launch|jail FILE, or tools/launcher.sh --uid FILE' >&2
  exit 2
}

# BUILT_FOR in launch.c and jail.c. A text in the file ends with NUL, and has no line feed in it.
built_for() { tr '\n\0' '\0\n' <"$2" | sed -n "/^dialback-$1 built for /p"; }

action=compile
case ${1-} in
  --uid)
    [ -n "${2-}" ] || usage
    built_for launch "$2" | sed -n 's/.* built for uid=\([0-9]*\) .*/\1/p'
    exit
    ;;
  --check | --renew)
    action=${1#--}
    shift
    ;;
esac
kind=${1-} output=${2-}
case $kind in launch | jail) ;; *) usage ;; esac
[ -n "$output" ] || usage

prefix=${PREFIX:-/usr/local}
self=${SELF_PATH:-$prefix/libexec/dialback/$kind}
rsync=${RSYNC_PATH:-/usr/bin/rsync}
dialback=${DIALBACK_PATH:-$prefix/bin/dialback}
never=${NEVER_PATH:-/etc/dialback/never}
uid_file=
case ${SERVICE_UID-} in /*) uid_file=$SERVICE_UID ;; esac
for path in "$self" "$rsync" "$dialback" "$never" ${uid_file:+"$uid_file"}; do
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

if [ "$kind" = launch ]; then
  uid=${SERVICE_UID:-$(id -u dialback 2>/dev/null || true)}
  case $uid in
    /*) ;;
    '')
      fail 'compile the launcher: the uid that it serves is not known, because there is no user dialback' \
        'make launcher SERVICE_UID=NUMBER'
      ;;
    *[!0-9]* | 0*)
      fail "compile the launcher for SERVICE_UID=\"$uid\": it must be a number, and not root's" \
        'make launcher SERVICE_UID=NUMBER'
      ;;
  esac
  inherited=${INHERITED:-0}
  case $inherited in
    0 | 1) ;;
    *) fail "compile the launcher for INHERITED=\"$inherited\": it is 0 or 1" 'make launcher, without INHERITED' ;;
  esac
  wanted="uid=$uid inherited=$inherited self=$self rsync=$rsync dialback=$dialback never=$never"
else
  wanted="self=$self rsync=$rsync dialback=$dialback"
fi

newer_than() { find src/launcher tools/launcher.sh tools/linkat.sh -type f -newer "$1" | head -n 1; }

if [ "$action" = check ]; then
  newer=$(newer_than "$output")
  found=$(built_for "$kind" "$output")
  # A launch that can lend is good for both.
  fits=$(echo "$found" | sed 's/ inherited=1 self=/ inherited=0 self=/')
  if [ "$found" != "dialback-$kind built for $wanted" ] && [ "$fits" != "dialback-$kind built for $wanted" ]; then
    found=${found#dialback-"$kind" }
    echo "it was ${found:-built by another version}, and not for $wanted"
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
machine=$("$cc" -dumpmachine)
if [ -z "${LAUNCH_CFLAGS-}" ]; then
  case $machine in x86_64-* | i?86-*) flags="$flags -fcf-protection" ;; esac
fi

# The compiler, its options and the machine, as a number: COMPILED_WITH in the file.
with=$({ "$cc" --version && echo "$machine" "$flags"; } | cksum | tr ' ' -)
if [ "$action" = renew ] && [ -f "$output" ] && [ -z "$(newer_than "$output")" ] &&
  [ "$(built_for "$kind" "$output")" = "dialback-$kind built for $wanted" ] &&
  grep -qaF "dialback compiled with $with." "$output"; then
  exit
fi

# Beside the result, so that the last step is a rename. A script that is killed before it leaves the old file.
made=$(mktemp "$output.XXXXXX")
# In a private folder: a linker removes its output and creates it again, and in /tmp another user could create it in between.
work=$(mktemp -d "${TMPDIR:-/tmp}/dialback-launcher.XXXXXX")
trap 'rm -rf "$made" "$work"' EXIT
trap 'exit 130' INT TERM HUP

# The source files of both, those that each adds, and the library that it gives rsync.
set -- caller caps die landlock paths rsync seccomp trust
case $kind in
  launch)
    set -- "$@" launch mounts never place run scope
    if [ "$inherited" = 1 ]; then set -- "$@" lend; fi
    library=mountpoints define=MOUNTPOINTS_LIBRARY
    ;;
  jail)
    set -- "$@" adopt attributes fetch jail relay root serve web
    library=linkat define=LINKAT_LIBRARY
    ;;
esac
# One translation unit, so that the compiler reads each header once.
{
  printf '#include "%s.c"\n' "$@"
  echo "__attribute__((used)) static const char COMPILED_WITH[] = \"dialback compiled with $with.\";"
} >"$work/all.c"
set -- -I src/launcher "$work/all.c"
tools/linkat.sh "$work/$library.so" "$library" ||
  fail "compile src/launcher/$library.c: see the compiler's error above" 'tools/prepare.sh --packages launcher'
if [ "$kind" = launch ]; then
  uid_define="-DSERVICE_UID=$uid"
  if [ -n "$uid_file" ]; then uid_define="-DSERVICE_UID_FILE=\"$uid_file\""; fi
  set -- "$@" "${uid_define}" -DINHERITED="$inherited" -DNEVER_PATH="\"$never\""
fi
# $flags is a list of words.
# shellcheck disable=SC2086
"$cc" $flags -D_GNU_SOURCE -DSELF_NAME="\"$kind\"" -DSELF_PATH="\"$self\"" -DRSYNC_PATH="\"$rsync\"" \
  -DDIALBACK_PATH="\"$dialback\"" \
  -D"$define=\"$work/$library.so\"" "$@" -o "$made" ||
  fail "compile $kind from src/launcher: see the compiler's error above" 'tools/prepare.sh --packages launcher'
chmod 755 "$made"
mv -f "$made" "$output"
