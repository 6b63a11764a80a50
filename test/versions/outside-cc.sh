#!/bin/sh
# A compiler for a root file system that has none: gcc of the machine whose root is mounted at OUTSIDE (by default /outside),
# where this folder and /tmp are put in their places. For static programs, as the launcher is: CC=test/versions/outside-cc.sh.
export OUTSIDE="${OUTSIDE:-/outside}"
exec unshare --mount sh -euc '
  mount --bind /tmp "$OUTSIDE/tmp"
  mount --bind "$PWD" "$OUTSIDE$PWD"
  exec chroot "$OUTSIDE" /bin/sh -c '\''cd "$0" && exec gcc "$@"'\'' "$PWD" "$@"' sh "$@"
