// Goal: man(1) and mandoc(1) show each page without a warning, and the shown page has every command, option and key of the program.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { CLIENT_SCHEMA } from '../../../src/client/config.ts';
import { HOST_SCHEMA } from '../../../src/host/config.ts';
import { configKeys } from '../../../src/shared/config-keys.ts';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { COMMANDS } from '../../support/command-line.ts';

const FOLDER = join(import.meta.dirname, '../../../docs/man');
const PAGES = readdirSync(FOLDER).map(name => join(FOLDER, name));

/** @returns the output of both streams; the program must succeed */
function run(program: string, ...args: string[]): { shown: string; warned: string } {
  const env = { PATH: '/usr/bin:/bin', LC_ALL: 'C.UTF-8', MANWIDTH: '200' };
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8', env });
  assert.equal(status, 0, `${program} ${args.join(' ')}: ${stdout}${stderr}`);
  return { shown: stdout, warned: stderr };
}

/** A character that is printed twice is bold, and one over a line is italic; escapes say the same. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const OVERSTRUCK = /.\u0008|\u001b\[\d*m/g;

/** Text on one line, with one blank between words. */
const onOneLine = (text: string): string => text.replaceAll(/\s+/g, ' ');

describe('the manual pages', { skip: IN_CLEAN_MACHINE }, () => {
  for (const page of PAGES) {
    const name = page.slice(FOLDER.length + 1);
    it(`${name} has no fault that mandoc finds`, () => {
      assert.deepEqual(run('mandoc', '-T', 'lint', '-W', 'all', page), { shown: '', warned: '' });
    });
    it(`${name} has no warning of man`, () => {
      const { shown, warned } = run('man', '--warnings', '-E', 'UTF-8', '-Tutf8', '-l', page);
      assert.equal(warned, '');
      assert.ok(shown.length > 2000);
    });
  }

  it('are three, and the two programs show the same words', () => {
    assert.equal(PAGES.length, 3);
    for (const page of PAGES) {
      const byMandoc = onOneLine(
        run('mandoc', '-T', 'ascii', '-O', 'width=200', page).shown.replaceAll(OVERSTRUCK, ''),
      );
      const byMan = onOneLine(run('man', '-E', 'ascii', '-l', page).shown.replaceAll(OVERSTRUCK, ''));
      // Their first and last lines differ.
      const body = (text: string): string =>
        text.slice(text.indexOf(' NAME '), text.lastIndexOf(' SEE ALSO '));
      assert.equal(body(byMandoc), body(byMan), page);
    }
  });

  it('show every command, option and key', () => {
    const shown = (name: string): string => run('man', '-E', 'ascii', '-l', join(FOLDER, name)).shown;
    const commands = shown('dialback.1');
    for (const { name, options } of COMMANDS) {
      assert.match(commands, new RegExp(`^   ${name}$`, 'm'));
      for (const option of options)
        assert.match(commands, new RegExp(`^ +(-\\w, )?--${option.name}\\b`, 'm'));
    }
    const configs = shown('dialback.toml.5');
    for (const { path } of [...configKeys(CLIENT_SCHEMA), ...configKeys(HOST_SCHEMA)])
      assert.match(configs, new RegExp(`\\b${path.at(-1)}\\b`));
  });

  it('would be found out', () => {
    assert.notEqual(
      spawnSync('mandoc', ['-T', 'lint', '-W', 'all'], { input: '.TH X\n.SH\ntext  \n' }).status,
      0,
    );
    assert.ok(existsSync('/usr/bin/man'));
  });
});
