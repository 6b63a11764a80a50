import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import { findPrinter, printedWords, quietAdvice, startupFiles } from '../src/shared/startup-files.ts';

describe('startupFiles()', () => {
  it('has what each shell reads when sshd starts it for a command', () => {
    const of = (shell: string): string[] => startupFiles({ name: 'anna', home: '/h', shell }).own;
    assert.deepEqual(of('/bin/bash'), ['/h/.bashrc']);
    assert.deepEqual(of('/usr/bin/zsh'), ['/h/.zshenv']);
    assert.deepEqual(of('/bin/tcsh'), ['/h/.tcshrc', '/h/.cshrc']);
    assert.deepEqual(of('/usr/bin/fish'), ['/h/.config/fish/config.fish', '/h/.config/fish/conf.d']);
    assert.deepEqual(of('/bin/dash'), []);
  });
});

describe('findPrinter()', () => {
  let home: string;
  before(() => {
    home = mkdtempSync(join(tmpdir(), 'startup '));
  });
  beforeEach(() => rmSync(join(home, '.bashrc'), { force: true }));
  after(() => rmSync(home, { recursive: true }));
  const find = (shell: string) => findPrinter({ name: 'anna', home, shell });

  it('names the file, and what it prints', async () => {
    writeFileSync(join(home, '.bashrc'), 'echo Welcome\n');
    const printed = await find('/bin/bash');
    assert.deepEqual(printed, { text: 'Welcome', file: join(home, '.bashrc') });
    assert.equal(printedWords(printed, 'anna'), `the start-up file "${home}/.bashrc" prints "Welcome"`);
    assert.match(quietAdvice(printed), /^let ".*\/\.bashrc" print only to a terminal/);
  });

  it('escapes what is printed', () => {
    const printed = { text: 'a\u001b[2J', file: undefined };
    assert.equal(printedWords(printed, 'anna'), 'a start-up file of "anna" prints "a\\u001b[2J"');
  });

  it('says nothing of a shell that prints nothing, that reads none of these, or that is not there', async () => {
    assert.equal(await find('/bin/bash'), undefined);
    writeFileSync(join(home, '.bashrc'), 'echo to standard error >&2\n');
    assert.equal(await find('/bin/bash'), undefined);
    writeFileSync(join(home, '.bashrc'), 'echo Welcome\n');
    assert.equal(await find('/bin/sh'), undefined);
    assert.equal(await find('/no/such/shell'), undefined);
  });
});
