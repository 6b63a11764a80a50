import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import { findPrinter, printedWords, quietAdvice } from '../src/shared/startup-files.ts';
import { scratch } from './support/scratch.ts';
import { matching, says, wording } from './support/wording.ts';

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
    assert.match(quietAdvice(printed), matching`^let ".*\/\.bashrc" ${says('print-only-to-a-terminal')}`);
  });

  const read: [shell: string, files: string[]][] = [
    ['bash', ['.bashrc']],
    ['zsh', ['.zshenv']],
    ['tcsh', ['.tcshrc', '.cshrc']],
    ['csh', ['.tcshrc', '.cshrc']],
    ['fish', ['.config/fish/config.fish', '.config/fish/conf.d']],
    ['dash', []],
  ];
  for (const [shell, files] of read)
    it(`names what ${shell} reads when sshd starts it for a command, in its order`, async t => {
      const own = join(scratch(t), 'home');
      // It prints as long as the home folder is there, whatever is in it.
      const path = join(scratch(t), shell);
      writeFileSync(path, '#!/bin/sh\n[ ! -d "$HOME" ] || echo Welcome\n', { mode: 0o755 });
      const found: string[] = [];
      for (const name of [...new Set(read.flatMap(([, names]) => names))]) {
        mkdirSync(dirname(join(own, name)), { recursive: true });
        if (name.endsWith('.d')) mkdirSync(join(own, name));
        writeFileSync(name.endsWith('.d') ? join(own, name, 'file') : join(own, name), '');
      }
      for (;;) {
        const printed = await findPrinter({ name: 'anna', home: own, shell: path });
        assert.equal(printed?.text, 'Welcome');
        if (printed.file === undefined) break;
        found.push(printed.file);
        rmSync(printed.file, { recursive: true });
      }
      assert.deepEqual(
        found,
        files.map(name => join(own, name)),
      );
    });

  it('escapes what is printed', () => {
    const printed = { text: 'a\u001b[2J', file: undefined };
    assert.equal(
      printedWords(printed, 'anna'),
      `${wording('a-start-up-file-of')} "anna" prints "a\\u001b[2J"`,
    );
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
