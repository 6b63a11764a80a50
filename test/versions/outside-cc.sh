#!/bin/sh
# A compiler for a root file system that has none: gcc of the machine whose root is mounted at OUTSIDE (by default /outside),
# where this folder and /tmp are put in their places. For static programs, as the launcher is: CC=test/versions/outside-cc.sh.
export OUTSIDE="${OUTSIDE:-/outside}"
exec unshare --mount sh -euc '
  # A small root file system has no mount(8) either: that of the machine, with its libraries.
  libraries=$OUTSIDE/lib/$(uname -m)-linux-gnu
  mount() { "$libraries"/ld-linux-*.so.2 --library-path "$libraries" "$OUTSIDE/bin/mount" "$@"; }
  mount --bind /tmp "$OUTSIDE/tmp"
  mount --bind "$PWD" "$OUTSIDE$PWD"
  exec chroot "$OUTSIDE" /bin/sh -c '\''cd "$0" && exec gcc "$@"'\'' "$PWD" "$@"' sh "$@"
