// No hint, document or script leads root to give an account root's own terminal: the account could type commands into it
// (TIOCSTI), or read what root types. `asAccount()` has the form that is safe.
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { asAccount, asUid } from '../src/os/account.ts';

const TOP = join(import.meta.dirname, '..');
const READ = ['README.md', 'Makefile', '{src,docs,share,tools}/**/*'];
/** As another account on the terminal that one has. */
const UNSAFE = [/\brunuser +(?!--pty\b)-/, /\bsu +(?!--pty\b)(-|\S+ +-c\b)/, /\bsu +(?!--pty\b)[A-Z]+\b/];

function unsafeLines(text: string): string[] {
  return text.split('\n').filter(line => UNSAFE.some(form => form.test(line)));
}

describe('commands for root', () => {
  it("give no account root's terminal", () => {
    const files = READ.flatMap(each => globSync(each, { cwd: TOP, withFileTypes: true }))
      .filter(each => each.isFile())
      .map(each => join(each.parentPath, each.name));
    assert.ok(files.length > 100, 'all of them are read');
    const found = files.flatMap(file =>
      unsafeLines(readFileSync(file, 'utf8')).map(line => `${file}: ${line}`),
    );
    assert.deepEqual(found, []);
  });

  it('are told from those that would', () => {
    for (const line of [
      'runuser -u dialback -- dialback init',
      'runuser -l dialback -c true',
      "su - dialback -c 'dialback list'",
      'su -s /bin/sh - dialback',
      'su dialback -c true',
      'su ACCOUNT',
    ])
      assert.deepEqual(unsafeLines(line), [line]);
    for (const line of [
      asAccount('dialback', 'dialback init'),
      asUid(5, 'dialback doctor'),
      "su --pty - dialback -c 'dialback list'",
      '`runuser` starts no shell',
      'sudo make install',
      'what a su and a setsid are',
    ])
      assert.deepEqual(unsafeLines(line), []);
  });
});
