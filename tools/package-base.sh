# The common part of tools/deb.sh and tools/rpm.sh, which set `kind` and read this file. stage() also takes `target`, the TARGET of tools/install.sh. This file sets SOURCE_DATE_EPOCH, the versions and
# the maintainer, and makes the folder `work`.

fail() {
  printf '%s: Cannot %s\nnext: %s\n' "$kind" "$1" "$2" >&2
  exit 1
}

if [ -z "${SOURCE_DATE_EPOCH-}" ]; then
  SOURCE_DATE_EPOCH=$(git -c safe.directory="$PWD" log -1 --format=%ct 2>/dev/null) ||
    fail 'date the files: this is no clone, and SOURCE_DATE_EPOCH is not set' "make $kind SOURCE_DATE_EPOCH=SECONDS"
fi
case $SOURCE_DATE_EPOCH in
  '' | *[!0-9]*) fail "use SOURCE_DATE_EPOCH=\"$SOURCE_DATE_EPOCH\": it is not a number of seconds" "make $kind SOURCE_DATE_EPOCH=SECONDS" ;;
esac
export SOURCE_DATE_EPOCH
upstream=$(sed -n 's/^  "version": "\(.*\)",$/\1/p' package.json)
store_version=$(sed -n 's/^const STORE_VERSION = \([0-9]*\);$/\1/p' src/store/*.ts)
case $store_version in '' | *[!0-9]*) fail 'find the version of stores: src/store has no STORE_VERSION' "correct tools/$kind.sh" ;; esac
maintainer="${DEBFULLNAME:-the dialback authors} <${DEBEMAIL:-dialback@packages.invalid}>"

# Refuses a part of the version that a package manager does not take. NAME is its variable.
check_revision() { # NAME
  case $revision in
    *[!a-zA-Z0-9.+~]*) fail "use $1=\"$revision\": only letters, digits and . + ~ are taken" "make $kind $1=1" ;;
  esac
}

# Beside the result, so that the last step is a rename.
work=$PWD/$(mktemp -d "dist/.build-$kind-XXXXXX")
chmod 755 "$work"
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP

# Lays all files below the folder ROOT, and writes the script of `make install` to the file SCRIPT.
stage() { # ROOT SCRIPT
  # This leaves launchers in dist/ that read the uid from the file. The next `make install` compiles its own.
  PREFIX=/usr DESTDIR=$1 TARGET=$target SERVICE_UID=/etc/dialback/service-uid INHERITED=0 tools/install.sh install >"$2"
  strip=strip
  if [ "$target:$(uname -m)" = arm64:x86_64 ]; then strip=aarch64-linux-gnu-strip; fi
  "$strip" --strip-all "$1/usr/libexec/dialback/launch" "$1/usr/libexec/dialback/jail"
  # cron(8) reads it after the package is removed too.
  sed -i 's|dialback /usr/bin/dialback backup|dialback test ! -x /usr/bin/dialback \|\| /usr/bin/dialback backup|' "$1/etc/cron.d/dialback"
  mkdir -p "$1/usr/share/doc/dialback"
  cp README.md docs/manual.md docs/quickstart.md docs/recover.md docs/security.md "$1/usr/share/doc/dialback/"
}

# The license of dialback, and the licenses of the packages in its executable.
print_licenses() {
  printf 'dialback\n\n'
  cat LICENSE
  # The packages in the executable, as package.json names them: `"dependencies": {` to the next brace.
  for name in $(sed -n '/^  "dependencies"/,/}/s/^    "\(.*\)": .*/\1/p' package.json); do
    printf '\n\n%s, a part of /usr/bin/dialback\n\n' "$name"
    cat "node_modules/$name"/[Ll][Ii][Cc][Ee][Nn][SsCc][Ee]*
  done
  printf '\n\nNode.js, a part of /usr/bin/dialback\n\n'
  cat node_modules/node-linux-*/LICENSE
}
