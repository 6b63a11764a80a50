#!/bin/sh
# Builds the package dist/dialback-VERSION-RELEASE.ARCHITECTURE.rpm from the files of `make install DESTDIR=`: `tools/rpm.sh`.
# The same sources, compiler and SOURCE_DATE_EPOCH give the same bytes in any folder. make passes these variables:
#   SOURCE_DATE_EPOCH    The time of all files, in seconds. Default: the time of the last commit.
#   RPM_RELEASE          The part of the version after the hyphen. Default: 1.
#   DEBFULLNAME, DEBEMAIL    The packager.
#   RPM_OUTPUT           The folder for the package. Default: dist.
#   RPM_PAYLOAD          How rpmbuild compresses the files. Default: w6.xzdio.
set -eu
cd "$(dirname "$0")/.."
umask 022
export LC_ALL=C TZ=UTC0

kind=rpm target=
. tools/package-base.sh
revision=${RPM_RELEASE:-1}
check_revision RPM_RELEASE
root=$work/root
stage "$root" "$work/script"
cp CHANGELOG.md "$root/usr/share/doc/dialback/"
mkdir -p "$root/usr/share/licenses/dialback"
print_licenses >"$root/usr/share/licenses/dialback/LICENSE"
# Debian's folder, when this is built there. The zsh of other distributions looks into the other one.
if [ -d "$root/usr/share/zsh/vendor-completions" ]; then
  mv "$root/usr/share/zsh/vendor-completions" "$root/usr/share/zsh/site-functions"
fi

# rpm itself sets owners, modes and capabilities (%attr and %caps). The account must exist before that, its number can be recorded later.
grep '^getent ' "$work/script" >"$work/account"
grep -v -e '^getent ' -e '^chown ' -e '^chmod ' -e '^setcap ' -e '^#' "$work/script" >"$work/record"
{
  # The folders of this package, then its files.
  for folder in etc/dialback usr/libexec/dialback usr/share/dialback usr/share/doc/dialback; do
    (cd "$root" && find "$folder" -type d | sort | sed 's|^|%dir /|')
  done
  (cd "$root" && find etc -type f | sort | sed 's|^|%config(noreplace) /|')
  (cd "$root" && find usr -type f ! -path usr/bin/dialback ! -path usr/libexec/dialback/launch ! -path 'usr/share/licenses/*' | sort | sed 's|^|/|')
} >"$work/files"

# rpmbuild takes no folder with a blank in its name.
top=$(mktemp -d)
trap 'rm -rf "$work" "$top"' EXIT
ln -s "$root" "$top/stage"

sed -e "/^#STORES#$/{
r tools/deb/stores.sh
d
}" -e "/^#ACCOUNT#$/{
r $work/account
d
}" -e "/^#RECORD#$/{
r $work/record
d
}" -e "/^#FILES#$/{
r $work/files
d
}" -e "s|#UPSTREAM#|$upstream|g; s|#REVISION#|$revision|g; s|#STORE_VERSION#|$store_version|g; s|#MAINTAINER#|$maintainer|g" \
  -e "s|#STAGE#|$top/stage|; s|#DATE#|$(date -d "@$SOURCE_DATE_EPOCH" '+%a %b %d %Y')|" tools/rpm/dialback.spec >"$top/dialback.spec"

# The programs are not changed after they are built, and the names of this machine and of the folder are in no header.
rpmbuild -bb --quiet --noclean --define "_topdir $top/rpm" --define "_rpmdir $top" --define "_dbpath $top/db" --define '_rpmfilename %{NVRA}.rpm' \
  --define 'debug_package %{nil}' --define '__os_install_post %{nil}' --define '_build_id_links none' --define '_buildhost localhost' \
  --define 'use_source_date_epoch_as_buildtime 1' --define 'clamp_mtime_to_source_date_epoch 1' \
  --define "_binary_payload ${RPM_PAYLOAD:-w6.xzdio}" --define 'optflags %{nil}' "$top/dialback.spec" >"$work/log" 2>&1 ||
  { cat "$work/log" >&2; fail 'build the package: see the error of rpmbuild above' 'correct tools/rpm/dialback.spec'; }
name=$(cd "$top" && echo dialback-*.rpm)
mv "$top/$name" "$work/$name"
mv -f "$work/$name" "${RPM_OUTPUT:-dist}/$name"
sha256sum "${RPM_OUTPUT:-dist}/$name"
