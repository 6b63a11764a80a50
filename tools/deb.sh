#!/bin/sh
# Builds the Debian package dist/dialback_VERSION_ARCHITECTURE.deb from the files of `make install DESTDIR=`: `tools/deb.sh`.
# The same sources, compiler and SOURCE_DATE_EPOCH give the same bytes in any folder. make passes these variables:
#   SOURCE_DATE_EPOCH    The time of all files, in seconds. Default: the time of the last commit.
#   DEB_ARCHITECTURE     amd64 or arm64. Default: this machine's. arm64 is also built on amd64, with a cross compiler.
#   DEB_REVISION         The part of the version after the hyphen. Default: 1.
#   DEBFULLNAME, DEBEMAIL    The maintainer, as dpkg's tools know them.
#   DEB_OUTPUT           The folder for the package. Default: dist.
#   DPKG_DEB_COMPRESSOR_LEVEL, DPKG_DEB_THREADS_MAX    See dpkg-deb(1).
set -eu
cd "$(dirname "$0")/.."
umask 022
export LC_ALL=C TZ=UTC0

kind=deb
. tools/package-base.sh

architecture=${DEB_ARCHITECTURE:-$(dpkg --print-architecture)}
case $architecture in
  amd64) target=x64 ;;
  arm64) target=arm64 ;;
  *) fail "build for DEB_ARCHITECTURE=\"$architecture\": there is no node for it" 'make deb DEB_ARCHITECTURE=amd64, or arm64' ;;
esac
revision=${DEB_REVISION:-1}
check_revision DEB_REVISION
version=$upstream-$revision
root=$work/root
doc=$root/usr/share/doc/dialback
stage "$root" "$work/script"

mkdir -p "$doc" "$root/usr/share/lintian/overrides" "$root/DEBIAN"
gzip -9n <CHANGELOG.md >"$doc/changelog.gz"
printf 'dialback (%s) unstable; urgency=medium\n\n  * See changelog.gz.\n\n -- %s  %s\n' "$version" "$maintainer" \
  "$(date -R -d "@$SOURCE_DATE_EPOCH")" | gzip -9n >"$doc/changelog.Debian.gz"
cp tools/deb/lintian-overrides "$root/usr/share/lintian/overrides/dialback"
print_licenses >"$doc/copyright"

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
