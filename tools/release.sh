#!/bin/sh
# Makes dist/release-VERSION: the sources, the Debian packages for amd64 and arm64, the rpm for x86_64, the list of the packages in the
# executable (SBOM) and SHA256SUMS. The machine has an x86-64 processor.
# Each is the same for the same commit and compiler, in any folder. make calls it with these variables in the environment:
#   SIGNING_KEY    A key for ssh-keygen -Y, which signs SHA256SUMS. Default: no signature.
#   DEB_REVISION, RPM_RELEASE, DEBFULLNAME, DEBEMAIL    See tools/deb.sh and tools/rpm.sh.
set -eu
cd "$(dirname "$0")/.."
umask 022
export LC_ALL=C TZ=UTC0

fail() {
  printf 'release: Cannot %s\nnext: %s\n' "$1" "$2" >&2
  exit 1
}
git() { command git -c safe.directory="$PWD" "$@"; }

head=$(git rev-parse HEAD 2>/dev/null) || fail 'make a release: this is no clone' 'make a clone, and make release there'
changed=$(git status --porcelain) || fail 'make a release: git does not tell what is changed' 'git status'
[ -z "$changed" ] || fail "make a release of $head: files differ from it" 'git status; commit them or put them away'
if [ -n "${SIGNING_KEY-}" ] && [ ! -r "$SIGNING_KEY" ]; then
  fail "sign with SIGNING_KEY=\"$SIGNING_KEY\": there is no such file, or you may not read it" 'make release SIGNING_KEY=FILE'
fi
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
version=$(sed -n 's/^  "version": "\(.*\)",$/\1/p' package.json)
name=dialback-$version
# Beside the result, so that the last step is a rename.
work=$PWD/$(mktemp -d dist/.build-release-XXXXXX)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP
made=$work/release
mkdir "$made"

# The modes are fixed: git's default follows the umask of its config.
git -c tar.umask=0022 archive --format=tar --prefix="$name/" "$head" | gzip -9n >"$made/$name.tar.gz"
# From the lock file, not from node_modules: the same on each machine, whatever npm has installed there. npm names the list after the folder.
mkdir "$work/dialback"
cp package.json package-lock.json "$work/dialback/"
(cd "$work/dialback" && npm sbom --package-lock-only --sbom-format=cyclonedx --sbom-type=application) >"$work/sbom" ||
  fail 'list the packages: npm has no working sbom' 'npm install --global npm@11, then make release'
node_modules/.bin/node tools/sbom.ts "$SOURCE_DATE_EPOCH" <"$work/sbom" >"$made/$name.cdx.json"
for architecture in amd64 arm64; do
  DEB_ARCHITECTURE=$architecture DEB_OUTPUT=$made tools/deb.sh >/dev/null
done
RPM_OUTPUT=$made tools/rpm.sh >/dev/null
(cd "$made" && sha256sum -- * >"$work/SHA256SUMS" && mv "$work/SHA256SUMS" .)
if [ -n "${SIGNING_KEY-}" ]; then
  # Standard input: with a file name it would take an older signature for this one, and ask.
  ssh-keygen -Y sign -q -f "$SIGNING_KEY" -n dialback-release <"$made/SHA256SUMS" >"$made/SHA256SUMS.sig" ||
    fail "sign with SIGNING_KEY=\"$SIGNING_KEY\": see ssh-keygen's error above" 'make release SIGNING_KEY=FILE'
fi
rm -rf "dist/release-$version"
mv -T "$made" "dist/release-$version"
cat "dist/release-$version/SHA256SUMS"
echo "release: dist/release-$version"
if [ -z "${SIGNING_KEY-}" ]; then echo 'release: not signed, since SIGNING_KEY is not set'; fi
