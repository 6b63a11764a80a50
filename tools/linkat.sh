#!/bin/sh
# Compiles a library that rsync gets: `tools/linkat.sh OUTPUT [NAME]`, src/launcher/NAME.c, by default linkat. Both the launcher
# and the executable carry them.
# CC is the compiler. Without the libraries that a compiler adds, and without build id and symbols, so that it loads with an
# older libc and the same compiler gives the same bytes.
set -eu
cd "$(dirname "$0")/.."
output=${1-}
[ -n "$output" ] || { echo 'usage: tools/linkat.sh OUTPUT [NAME]' >&2; exit 2; }
"${CC:-gcc}" -std=gnu17 -Os -shared -fPIC -fvisibility=hidden -nostdlib -fno-stack-protector -U_FORTIFY_SOURCE \
  -fno-asynchronous-unwind-tables -Wall -Wextra -Wconversion -Wshadow -Werror -s \
  -Wl,-z,noexecstack,-z,relro,-z,now,--build-id=none -o "$output" "src/launcher/${2:-linkat}.c"
