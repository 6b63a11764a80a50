# What a checkout needs: node 20 or newer, npm and make. The build and the tests run on node 24, which npm
# brings along (node_modules/.bin/node): hence everything here goes through npm.

.DEFAULT_GOAL := help
.PHONY: help try build test clean

help:
	@echo 'make try [DIR=FOLDER]  install what is missing, build, and show a backup and a restore of a copy of FOLDER'
	@echo 'make build             dist/dialback, one executable'
	@echo 'make test              lint, types, unit and regress tests; a part of them: npm test -- NAME'
	@echo 'make clean             remove what the build made'

# The shell expands DIR, not make: a name with blanks or a dollar in it stays one argument.
try:
	@tools/prepare.sh try
	@$(MAKE) -s dist/dialback
	@dist/dialback try $${DIR:+"$$DIR"}

build:
	@tools/prepare.sh build
	@$(MAKE) -s dist/dialback

test:
	@tools/prepare.sh test
	@$(MAKE) -s dist/dialback
	@npm test --silent

clean:
	rm -rf dist/.build-* dist/dialback dist/dialback-*

# All that gets into the file: folders too, since a source that went away changes nothing but its folder.
# tsconfig.json is one of them, for esbuild reads it ("use strict"); the lock file stands for the base.
dist/dialback: build.ts package.json package-lock.json tsconfig.json $(shell find src -type d -o -name '*.ts')
	@npm run build --silent
