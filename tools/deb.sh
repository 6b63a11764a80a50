#!/bin/sh
# Builds the Debian package dist/dialback_VERSION_ARCHITECTURE.deb from the files of `make install DESTDIR=`: `tools/deb.sh`.
# The same sources, compiler and SOURCE_DATE_EPOCH give the same bytes in any folder. make passes these variables:
#   SOURCE_DATE_EPOCH    The time of all files, in seconds. Default: the time of the last commit.
#   DEB_REVISION         The part of the version after the hyphen. Default: 1.
#   DEBFULLNAME, DEBEMAIL    The maintainer, as dpkg's tools know them.
#   DEB_OUTPUT           The folder for the package. Default: dist.
#   DPKG_DEB_COMPRESSOR_LEVEL, DPKG_DEB_THREADS_MAX    See dpkg-deb(1).
set -eu
cd "$(dirname "$0")/.."
umask 022
export LC_ALL=C TZ=UTC0

fail() {
  printf 'deb: Cannot %s\nnext: %s\n' "$1" "$2" >&2
  exit 1
}

if [ -z "${SOURCE_DATE_EPOCH-}" ]; then
  SOURCE_DATE_EPOCH=$(git -c safe.directory="$PWD" log -1 --format=%ct 2>/dev/null) ||
    fail 'date the files: this is no clone, and SOURCE_DATE_EPOCH is not set' 'make deb SOURCE_DATE_EPOCH=SECONDS'
fi
case $SOURCE_DATE_EPOCH in
  '' | *[!0-9]*) fail "use SOURCE_DATE_EPOCH=\"$SOURCE_DATE_EPOCH\": it is not a number of seconds" 'make deb SOURCE_DATE_EPOCH=SECONDS' ;;
esac
export SOURCE_DATE_EPOCH
revision=${DEB_REVISION:-1}
case $revision in
  *[!a-zA-Z0-9.+~]*) fail "use DEB_REVISION=\"$revision\": only letters, digits and . + ~ are taken" 'make deb DEB_REVISION=1' ;;
esac
upstream=$(sed -n 's/^  "version": "\(.*\)",$/\1/p' package.json)
version=$upstream-$revision
store_version=$(sed -n 's/^const STORE_VERSION = \([0-9]*\);$/\1/p' src/store/*.ts)
case $store_version in '' | *[!0-9]*) fail 'find the version of stores: src/store has no STORE_VERSION' 'correct tools/deb.sh' ;; esac
architecture=$(dpkg --print-architecture)
maintainer="${DEBFULLNAME:-the dialback authors} <${DEBEMAIL:-dialback@packages.invalid}>"

# Beside the result, so that the last step is a rename.
work=$PWD/$(mktemp -d dist/.build-deb-XXXXXX)
chmod 755 "$work"
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP
root=$work/root
doc=$root/usr/share/doc/dialback
# This leaves launchers in dist/ that read the uid from the file. The next `make install` compiles its own.
PREFIX=/usr DESTDIR=$root SERVICE_UID=/etc/dialback/service-uid INHERITED=0 tools/install.sh install >"$work/script"
strip --strip-all "$root/usr/libexec/dialback/launch" "$root/usr/libexec/dialback/jail"
# cron(8) reads it after `apt remove` too.
sed -i 's|dialback /usr/bin/dialback backup|dialback test ! -x /usr/bin/dialback \|\| /usr/bin/dialback backup|' "$root/etc/cron.d/dialback"

mkdir -p "$doc" "$root/usr/share/lintian/overrides" "$root/DEBIAN"
gzip -9n <CHANGELOG.md >"$doc/changelog.gz"
printf 'dialback (%s) unstable; urgency=medium\n\n  * See changelog.gz.\n\n -- %s  %s\n' "$version" "$maintainer" \
  "$(date -R -d "@$SOURCE_DATE_EPOCH")" | gzip -9n >"$doc/changelog.Debian.gz"
cp README.md docs/manual.md docs/recover.md docs/security.md "$doc/"
cp tools/deb/lintian-overrides "$root/usr/share/lintian/overrides/dialback"
{
  printf 'dialback\n\n'
  cat LICENSE
  # The packages in the executable, as package.json names them: `"dependencies": {` to the next brace.
  for name in $(sed -n '/^  "dependencies"/,/}/s/^    "\(.*\)": .*/\1/p' package.json); do
    printf '\n\n%s, a part of /usr/bin/dialback\n\n' "$name"
    cat "node_modules/$name"/[Ll][Ii][Cc][Ee][Nn][SsCc][Ee]*
  done
  printf '\n\nNode.js, a part of /usr/bin/dialback\n\n'
  cat node_modules/node-linux-*/LICENSE
} >"$doc/copyright"

fill() { # TEMPLATE PLACE MODE
  sed -e "/^#STORES#$/{
r tools/deb/stores.sh
d
}" -e "/^#SCRIPT#$/{
r $work/script
d
}" -e "s|#VERSION#|$version|; s|#STORE_VERSION#|$store_version|; s|#ARCHITECTURE#|$architecture|" \
    -e "s|#MAINTAINER#|$maintainer|; s|#SIZE#|${size-}|" "tools/deb/$1" >"$root/DEBIAN/$2"
  chmod "$3" "$root/DEBIAN/$2"
}
for name in preinst postinst prerm postrm; do fill "$name" "$name" 755; done
(cd "$root" && find etc -type f | sort | sed 's|^|/|') >"$root/DEBIAN/conffiles"
(cd "$root" && find usr -type f -print0 | sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
# As policy 5.6.20 has it, and not as this file system stores it.
size=$(find "$root" -path "$root/DEBIAN" -prune -o -printf '%y %s\n' | awk '{ sum += $1 == "f" ? int(($2 + 1023) / 1024) : 1 } END { print sum }')
fill control control 644
find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +

name=dialback_${version}_$architecture.deb
dpkg-deb -Zxz --root-owner-group --build "$root" "$work/$name" >/dev/null
mv -f "$work/$name" "${DEB_OUTPUT:-dist}/$name"
sha256sum "${DEB_OUTPUT:-dist}/$name"
