#!/bin/sh
# A compiler for a root file system that has none: gcc of the machine whose root is mounted at OUTSIDE (by default /outside),
# which has this checkout in the same place. For static programs, as the launcher is: CC=test/versions/outside-cc.sh.
set -eu
outside=${OUTSIDE:-/outside}
work=$(mktemp -d "$outside/tmp/dialback-cc.XXXXXX")
trap 'rm -rf "$work"' EXIT
previous='' output=''
for word; do
  if [ "$previous" = -o ]; then output=$word; fi
  previous=$word
  shift
  if [ "$word" = "$output" ]; then word=${work#"$outside"}/out; fi
  set -- "$@" "$word"
done
chroot "$outside" /bin/sh -c 'cd "$0" && exec gcc "$@"' "$PWD" "$@"
if [ -n "$output" ]; then cp "$work/out" "$output"; fi
