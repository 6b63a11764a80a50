# What a checkout needs: make, and npm with the node that it runs on (18 or newer). The build and the tests run on node 24, which
# npm brings along (node_modules/.bin/node). Once it is there, nothing here needs npm.

.DEFAULT_GOAL := help
# The rules that make brings along look for a source of each .ts file, in RCS and SCCS too: 0.08 s of processor time for each call.
MAKEFLAGS += --no-builtin-rules
.PHONY: help try build launcher launcher-arm64 test test-long test-web test-versions versions-doc test-machines fuzz bench bench-runs bench-fleet bench-burst performance install uninstall deb rpm release clean

help:
	@echo 'make try [DIR=FOLDER]  install what is missing, build, and show a backup and a restore of a copy of FOLDER'
	@echo 'make build             dist/dialback, one executable'
	@echo 'make launcher          dist/launch, the one program with a privilege, for the uid in SERVICE_UID=, and dist/jail; INHERITED=1: see README.md'
	@echo 'make test              lint, types, unit and regress tests; a part of them: npm test -- NAME'
	@echo 'make test-long         the soaks: more kills, larger numbers, a machine without any of the packages; with make test for releases'
	@echo 'make test-web          the pages of dialback web in Chromium, with screenshots; as root'
	@echo 'make test-versions     backups with the rsync and OpenSSH of Debian 11 to sid and Ubuntu 22.04 to 26.04 (docs/versions.md); as root'
	@echo 'make versions-doc      the same, and write docs/versions.md in place of comparing it'
	@echo 'make test-machines     emulated machines: old and new kernels, systemd, reboots, installation, recovery, arm64, power cuts (docs/testing.md); as root, hours'
	@echo 'make fuzz [TARGET=NAME] [SECONDS=60]'
	@echo '                       changed inputs for every decoder, so long for each; make test does a little of it'
	@echo 'make bench-runs [BENCH="OPTION..."]'
	@echo '                       whole runs beside restic, borg, rdiff-backup, rsnapshot and rsync; as root, an hour (tools/bench-runs.ts has the options)'
	@echo 'make bench-fleet       what 1,000 to 10,000 clients of one host cost, after a year; make bench-burst: 200 clients at once; options as above'
	@echo 'make performance       docs/performance.md and its plots, from the results in docs/performance'
	@echo 'make bench             what jails and compression cost and save, how fast a large store answers, how soon rsync begins, beside plain tools; as root, some minutes'
	@echo 'make install           on this machine, as root; for a package: DESTDIR=FOLDER, as anybody; PREFIX=/usr/local'
	@echo 'make deb [DEB_ARCHITECTURE=arm64]'
	@echo '                       dist/dialback_VERSION_ARCHITECTURE.deb, for Debian 12 and 13, and what lintian finds in it'
	@echo 'make rpm               dist/dialback-VERSION.ARCHITECTURE.rpm, and what rpmlint finds in it'
	@echo 'make release           dist/release-VERSION: sources, .deb (amd64 and arm64), .rpm, SBOM, SHA256SUMS; SIGNING_KEY=FILE signs them'
	@echo 'make uninstall         take that away; configs, backups and the account stay'
	@echo 'make clean             remove what the build made'

# The shell expands DIR, not make: a name with blanks or a dollar in it stays one argument.
try:
	@tools/prepare.sh try
	@$(MAKE) -s dist/dialback
	@dist/dialback try $${DIR:+"$$DIR"}

build:
	@$(MAKE) -q dist/dialback || { tools/prepare.sh build && $(MAKE) -s dist/dialback; }

# Both always compile, since make cannot compare the uid and the paths in the files.
launcher:
	@tools/prepare.sh --packages launcher
	@tools/launcher.sh launch dist/launch
	@tools/launcher.sh jail dist/jail

launcher-arm64:
	@CC=$${CC:-aarch64-linux-gnu-gcc} tools/launcher.sh launch dist/launch-arm64
	@CC=$${CC:-aarch64-linux-gnu-gcc} tools/launcher.sh jail dist/jail-arm64

test:
	@tools/prepare.sh test
	@$(MAKE) -s dist/dialback
	@npm test --silent

test-long:
	@tools/prepare.sh test-long
	@$(MAKE) -s dist/dialback
	@npm run test-long --silent

test-web:
	@tools/prepare.sh web
	@$(MAKE) -s dist/dialback
	@node_modules/.bin/node test/web/browser.ts

# FILTER is a part of a test's name, as it prints it: FILTER=jammy.
test-versions:
	@tools/prepare.sh versions
	@$(MAKE) -s dist/dialback
	@node_modules/.bin/node test/versions/run.ts $${FILTER:+"$$FILTER"}

versions-doc:
	@tools/prepare.sh versions
	@$(MAKE) -s dist/dialback
	@node_modules/.bin/node test/versions/run.ts --write $${FILTER:+"$$FILTER"}

# PARTS says what runs: kernels timer install package recover recover-packages arm64 cuts. CUTS says how many cuts: FILESYSTEM:DURING_COPY:AROUND_COMMIT, and
# EXECUTABLE which dialback they are for. RESULTS is a file whose table gets the results (docs/versions.md).
PARTS ?= kernels timer install package recover recover-packages arm64 cuts
CUTS ?= ext4:5:10 xfs:2:3 btrfs:2:3
EXECUTABLE ?= dist/dialback
test-machines:
	@tools/prepare.sh machines
	@$(MAKE) -s dist/dialback
	@node_modules/.bin/node test/machines/run.ts --executable "$(EXECUTABLE)" --cuts "$(CUTS)" $(if $(RESULTS),--results "$(RESULTS)") $(PARTS)

# What is given on make's command line is in its environment.
fuzz:
	@tools/prepare.sh fuzz
	@PATH="$$PWD/node_modules/.bin:$$PATH" node tools/fuzz.ts

bench:
	@tools/prepare.sh test
	@$(MAKE) -s dist/dialback
	@PATH="$$PWD/node_modules/.bin:$$PATH" node tools/bench.ts
	@PATH="$$PWD/node_modules/.bin:$$PATH" node tools/bench-store.ts
	@PATH="$$PWD/node_modules/.bin:$$PATH" node tools/bench-manifest.ts
	@PATH="$$PWD/node_modules/.bin:$$PATH" node tools/bench-compress.ts
	@PATH="$$PWD/node_modules/.bin:$$PATH" node tools/bench-start.ts
	@PATH="$$PWD/node_modules/.bin:$$PATH" node tools/bench-overview.ts
	@PATH="$$PWD/node_modules/.bin:$$PATH" node tools/bench-parts.ts

bench-runs:
	@tools/prepare.sh bench
	@$(MAKE) -s dist/dialback
	@PATH="$$PWD/node_modules/.bin:$$PATH" node tools/bench-runs.ts $(BENCH)

bench-fleet:
	@tools/prepare.sh bench
	@$(MAKE) -s dist/dialback
	@PATH="$$PWD/node_modules/.bin:$$PATH" node tools/bench-fleet.ts $(BENCH)

bench-burst:
	@tools/prepare.sh bench
	@$(MAKE) -s dist/dialback
	@PATH="$$PWD/node_modules/.bin:$$PATH" node tools/bench-burst.ts $(BENCH)

performance:
	@tools/prepare.sh bench
	@node_modules/.bin/node tools/performance.ts

# What is given on make's command line (PREFIX, DESTDIR, SERVICE_UID, INHERITED) is in the environment of these two.
install:
	@tools/install.sh install

uninstall:
	@tools/install.sh uninstall

# DEB_ARCHITECTURE, DEB_REVISION, RPM_RELEASE, DEBFULLNAME, DEBEMAIL, SOURCE_DATE_EPOCH, SIGNING_KEY: see the scripts.
deb:
	@tools/prepare.sh deb
	@tools/deb.sh
	@lintian --allow-root --fail-on error,warning dist/dialback_*.deb

rpm:
	@tools/prepare.sh rpm
	@$(MAKE) -s dist/dialback
	@tools/rpm.sh
	@rpmlint --strict --config tools/rpm/rpmlint.toml dist/dialback-*.rpm

release:
	@tools/prepare.sh release
	@$(MAKE) -s dist/dialback dist/dialback-arm64
	@tools/release.sh

clean:
	rm -rf dist/.build-* dist/dialback dist/dialback-* dist/launch dist/launch-* dist/launch.* dist/jail dist/jail-* dist/jail.* dist/dialback_*.deb dist/release-*

# All that gets into the file: folders too, since a source that went away changes nothing but its folder.
# tsconfig.json is one of them, for esbuild reads it ("use strict"); the lock file stands for the base.
SOURCES := build.ts tools/base.ts tools/code-cache.ts tools/environment.ts package.json package-lock.json tsconfig.json src/launcher/linkat.c src/launcher/mountpoints.c tools/linkat.sh $(shell find src -type d -o -name '*.ts')
dist/dialback: $(SOURCES)
	@if [ -x node_modules/.bin/node ]; then node_modules/.bin/node build.ts; else npm run build --silent; fi

# Another processor's, built with the node of this one.
dist/dialback-arm64: $(SOURCES)
	@if [ -x node_modules/.bin/node ]; then node_modules/.bin/node build.ts --target arm64; else npm run build --silent -- --target arm64; fi
