import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import * as v from 'valibot';
import { CLIENT_SCHEMA } from '../src/client/config.ts';
import { EXIT } from '../src/fault.ts';
import { HOST_SCHEMA } from '../src/host/config.ts';
import { configKeys } from '../src/shared/config-keys.ts';
import { MOMENTS } from '../src/shared/hooks.ts';
import { HOOK_VARIABLES } from '../src/shared/hooks-text.ts';
import { datedPage, FOLDER, manualPages } from '../tools/man.ts';
import { fileSection } from '../tools/man-config.ts';
import { COMMANDS } from './support/command-line.ts';

const TOP = join(import.meta.dirname, '..');
const PAGES = await manualPages();
const read = (file: string): string => readFileSync(join(TOP, FOLDER, file), 'utf8');

/** A page as a reader sees it, but for the layout: roff's escapes are characters again. */
function shown(file: string): string {
  return read(file)
    .replaceAll(/\\f[BIR]/g, '')
    .replaceAll('\\-', '-')
    .replaceAll('\\(aq', "'")
    .replaceAll('\\(dq', '"');
}

/** The text below a heading, up to the next one of its kind. */
function below(text: string, heading: string): string {
  const kind = heading.slice(0, 4);
  const [, ...rest] = text.split(`\n${heading}\n`);
  assert.equal(rest.length, 1, `${heading} is there once`);
  return (rest[0] ?? '').split(`\n${kind}`)[0]?.split('\n.SH ')[0] ?? '';
}

describe('the manual pages', () => {
  it('are made from the program: after a change, run node tools/man.ts', () => {
    assert.deepEqual(readdirSync(join(TOP, FOLDER)).sort(), [...PAGES.keys()].sort());
    for (const [file, page] of PAGES)
      assert.equal(datedPage(page, read(file), '2000-01-01'), read(file), file);
  });

  it('keep their date while nothing else changes, and get the day of a change', () => {
    const [page] = PAGES.values();
    assert.ok(page);
    const first = datedPage(page, '', '2001-01-01');
    assert.match(first, /^\.TH \S+ \d 2001-01-01 /);
    assert.equal(datedPage(page, first, '2002-02-02'), first);
    assert.match(datedPage(page, `${first}more\n`, '2002-02-02'), /^\.TH \S+ \d 2002-02-02 /);
  });

  it('have only characters that each reader shows', () => {
    for (const file of PAGES.keys()) assert.match(read(file), /^[\n -~]+$/);
  });
});

describe('dialback(1)', () => {
  const page = shown('dialback.1');

  it('has a section for each command with its usage, summary and options', () => {
    for (const { name, usage, summary, options } of COMMANDS) {
      const section = below(page, `.SS "${name}"`);
      const text = section.replaceAll('\n', ' ');
      assert.ok(text.includes(`dialback ${usage.replaceAll('…', '...')}`), `${name}: ${usage}`);
      assert.ok(text.includes(summary.replaceAll('`', '')), `${name}: ${summary}`);
      for (const option of options) {
        const letters = option.short === undefined ? '' : `-${option.short}, `;
        const value = option.value === undefined ? '' : ` ${option.value}`;
        assert.ok(
          section.includes(`\n.TP\n${letters}--${option.name}${value}\n`),
          `${name} --${option.name}`,
        );
        assert.ok(
          text.includes(option.help.replaceAll('`', '').replaceAll('…', '...')),
          `${name}: ${option.help}`,
        );
      }
      assert.equal(section.match(/^\.TP$/gm)?.length ?? 0, options.length, name);
    }
  });

  it('has each exit status', () => {
    const section = below(page, '.SH "EXIT STATUS"');
    const listed = [...section.matchAll(/^\.TP\n(\d+)$/gm)].map(([, status]) => Number(status));
    assert.deepEqual(listed, Object.values(EXIT));
  });
});

describe('dialback.toml(5)', () => {
  const page = shown('dialback.toml.5');
  for (const [name, schema, least] of [
    ['client.toml', CLIENT_SCHEMA, 35],
    ['host.toml', HOST_SCHEMA, 45],
  ] as const)
    it(`has each key of ${name} in the section of its table`, () => {
      const file = below(page, `.SH ${name.toUpperCase()}`);
      const keys = configKeys(schema);
      assert.ok(keys.length >= least, `${keys.length} keys`);
      for (const { path } of keys) {
        const table = path.slice(0, -1);
        const isList = table.at(-1) === '*' && table.length === 2 && table[0] === 'remote';
        const shownTable = isList ? '[[remote]]' : `[${table.join('.').replace('*', '"NAME"')}]`;
        const section = below(`\n${file}`, `.SS "${table.length === 0 ? 'Top-level keys' : shownTable}"`);
        assert.match(section, new RegExp(`(^|[\\s,])${path.at(-1)}(?=[\\s,:]|$)`, 'm'), path.join('.'));
      }
    });

  it('cannot be made with a key that the sample does not describe', () => {
    const schema = v.strictObject({ known: v.boolean(), colour: v.optional(v.string()) });
    const sample = '# An introduction.\n\n# What it is.\nknown = true\n';
    assert.throws(() => fileSection('x.toml', schema, sample), /colour/);
    assert.match(fileSection('x.toml', schema, `${sample}\n# Its color.\n#colour = "red"\n`), /Its color/);
  });
});

describe('dialback-hooks(7)', () => {
  const page = shown('dialback-hooks.7');

  it('has each moment, variable and sample', () => {
    for (const moment of MOMENTS) assert.match(page, new RegExp(`\\b${moment}\\b`));
    for (const name of Object.keys(HOOK_VARIABLES))
      assert.ok(page.includes(`\n.TP\nDIALBACK_${name}\n`), name);
    for (const name of readdirSync(join(TOP, 'share/hooks')))
      assert.ok(page.includes(`\n.TP\n${name}\n`), name);
  });
});
