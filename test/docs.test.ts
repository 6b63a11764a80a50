// The documents are true in what can be looked up: every file, function, command, option and make target that they name exists.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';

const TOP = join(import.meta.dirname, '..');
const DOCUMENTS = ['README.md', 'CONTRIBUTING.md', ...globSync('docs/*.md', { cwd: TOP }).sort()];
const read = (path: string): string => readFileSync(join(TOP, path), 'utf8');
/** A document with its fenced blocks of code as indented ones, line for line: {@link codeOf} sees one line at a time. */
const readIndented = (path: string): string =>
  read(path).replace(/^```([\w-]*)\n([\s\S]*?)^```$/gm, (whole, language: string, block: string) =>
    language === '' ? `\n${block.replace(/^(?=.)/gm, '    ')}` : whole,
  );
const exists = (path: string): boolean => existsSync(join(TOP, path));
const glob = (pattern: string): boolean => globSync(pattern, { cwd: TOP }).length > 0;

/** What `find` reports of a text, with `FILE:LINE` before each. */
function locate(file: string, text: string, find: (line: string) => string[]): string[] {
  return text.split('\n').flatMap((line, at) => find(line).map(word => `${file}:${at + 1}: ${word}`));
}

/** What `find` reports of all documents. */
function inDocuments(find: (line: string, file: string) => string[]): string[] {
  return DOCUMENTS.flatMap(file => locate(file, readIndented(file), line => find(line, file)));
}

/** A heading as GitHub makes an anchor of it. */
function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
    .replaceAll(' ', '-');
}

function anchorsOf(file: string): string[] {
  return [...read(file).matchAll(/^#{1,6} (.+)$/gm)].map(([, heading = '']) => anchorOf(heading));
}

/** Links into the repository that lead to nothing. */
function brokenLinks(line: string, file: string): string[] {
  return [...line.matchAll(/\]\(([^)\s]+)\)/g)].flatMap(([, link = '']) => {
    if (/^https?:/.test(link)) return [];
    const [path = '', anchor] = link.split('#');
    const target = path === '' ? file : join(dirname(file), path);
    if (!exists(target)) return [link];
    return anchor !== undefined && !anchorsOf(target).includes(anchor) ? [link] : [];
  });
}

const SOURCE_FOLDERS = globSync('src/*/', { cwd: TOP }).map(path => path.replace(/^src\/|\/$/g, ''));
const AREAS = globSync('test/regress/*/', { cwd: TOP }).map(path =>
  path.replace(/^test\/regress\/|\/$/g, ''),
);
/** From the top, or below src/ or test/regress; not the end of a longer path. */
const PATH = new RegExp(
  `(?<![\\w/.~$*-])((?:src|test|tools|docs|share|\\.ci|${[...SOURCE_FOLDERS, ...AREAS].join('|')})/[\\w./*-]*[\\w*/])`,
  'g',
);
/** A file of tests by its name alone. */
const TEST_FILE = /(?<![\w/.*-])([\w-]+(?:\.long)?\.test)(?:\.ts)?\b/g;
/** They look like a path and are none. */
const NO_PATHS = ['store/tree'];

/** @param path as a document has it: from the top, below src/, or below test/regress without the end of its name */
function pathExists(path: string): boolean {
  const plain = path.replace(/\/$/, '');
  const ends = ['', '.ts', '.test.ts', '.long.test.ts', '.test', '.long.test'];
  return ['', 'src/', 'test/regress/'].some(start => ends.some(end => glob(`${start}${plain}${end}`)));
}

function unknownPaths(line: string): string[] {
  const plain = line.replaceAll(/https?:\S+/g, '');
  const paths = [...plain.matchAll(PATH)]
    .map(([, path = '']) => path)
    .filter(path => !NO_PATHS.includes(path) && !pathExists(path));
  const tests = [...plain.matchAll(TEST_FILE)]
    .map(([, name = '']) => name)
    .filter(name => !/^(NAME|X)\./.test(name) && !glob(`test/**/${name}.ts`));
  return [...paths, ...tests];
}

/** Functions of other programs that the documents name. */
const FOREIGN: Record<string, string> = {
  copy_file: 'rsync, util.c',
  finish_hard_link: 'rsync, hlink.c',
  parse_filter_file: 'rsync, exclude.c',
};
const SOURCES = globSync(['{src,tools,test}/**/*.{ts,c,sh}', 'build.ts'], { cwd: TOP })
  .filter(path => !path.startsWith('test/docs.test'))
  .map(read)
  .join('\n');

function isDefined(name: string): boolean {
  const definitions = [
    `\\bfunction\\*? ${name}\\b`, // TypeScript
    `\\bconst ${name} = `,
    `^ +(?:static |async |readonly )*#?${name}\\([^\\n]*\\{$`, // a method
    `^[a-z][\\w *]*\\b${name}\\(`, // C
  ];
  const definition = new RegExp(definitions.join('|'));
  return linesWith(name).some(line => definition.test(line));
}

/** The lines of the sources that have a name in them. A search of all sources by a regular expression takes a hundred times as long. */
function linesWith(name: string): string[] {
  const lines: string[] = [];
  for (let at = SOURCES.indexOf(name); at >= 0; ) {
    const end = SOURCES.indexOf('\n', at);
    lines.push(SOURCES.slice(SOURCES.lastIndexOf('\n', at) + 1, end < 0 ? undefined : end));
    at = end < 0 ? -1 : SOURCES.indexOf(name, end);
  }
  return lines;
}

function unknownFunctions(line: string): string[] {
  return [...line.matchAll(/`([A-Za-z_]\w*)\(\)`/g)]
    .map(([, name = '']) => name)
    .filter(name => !Object.hasOwn(FOREIGN, name) && !isDefined(name));
}

/** Verbs that the program starts itself, with no line in the help. */
const INTERNAL = ['complete', 'manifest', 'relay'];

/** What the help says: the options of each command. */
function readCommands(): Map<string, Set<string>> {
  const commands = new Map<string, Set<string>>();
  const ask = (...words: string[]): string =>
    execFileSync(join(TOP, 'dist/dialback'), ['help', ...words], {
      encoding: 'utf8',
      env: {},
      stdio: ['ignore', 'pipe', 'ignore'],
    });
  const take = (help: string): void => {
    for (const [, name = '', usage = ''] of help.matchAll(
      /^ *(?:usage: )?dialback ([a-z][a-z-]*)\b(.*)$/gm,
    )) {
      const options = commands.get(name) ?? new Set();
      for (const [option] of usage.matchAll(/(?<=[\s[|])--?[A-Za-z][a-z-]*/g)) options.add(option);
      commands.set(name, options);
    }
  };
  take(ask());
  for (const name of [...commands.keys()]) take(ask(name));
  return commands;
}

const COMMANDS = readCommands();

/** The parts of a line that are code: all of an indented or fenced one. */
function codeOf(line: string): string[] {
  if (/^( {4}|\S+@\S+:\S*[$#] )/.test(line)) return [line];
  return [...line.matchAll(/`([^`]+)`/g)].map(([, code = '']) => code);
}

function unknownCommands(line: string): string[] {
  return codeOf(line).flatMap(code => {
    const [, verb, rest = ''] =
      /(?:^|[\s/])dialback (?!dialback\b)([a-z][a-z-]*)(?![\w-])([^|&;>]*)/.exec(code) ?? [];
    if (verb === undefined || INTERNAL.includes(verb)) return [];
    const options = COMMANDS.get(verb);
    if (options === undefined) return [`dialback ${verb}`];
    const given = [...rest.replace(/'[^']*'/g, '').matchAll(/(?<=\s)--?[A-Za-z][a-z-]*/g)].map(([it]) => it);
    return given.filter(option => !options.has(option)).map(option => `dialback ${verb} ${option}`);
  });
}

const TARGETS = [...read('Makefile').matchAll(/^([a-z][a-z-]*):/gm)].map(([, name = '']) => name);

function unknownTargets(line: string): string[] {
  return codeOf(line)
    .flatMap(
      code => /^\s*(?:\S+[$#] )?make ((?:[a-z][a-z-]*(?: |$))+)/.exec(code)?.[1]?.trim().split(' ') ?? [],
    )
    .filter(target => !TARGETS.includes(target))
    .map(target => `make ${target}`);
}

describe('the documents', () => {
  it('link only to what is there', () => {
    assert.deepEqual(inDocuments(brokenLinks), []);
  });

  it('name only files and folders that exist', () => {
    assert.deepEqual(inDocuments(unknownPaths), []);
  });

  it('name only functions that exist', () => {
    assert.deepEqual(inDocuments(unknownFunctions), []);
  });

  it('name only commands and options that exist', () => {
    assert.ok(COMMANDS.size > 20, 'the help has all commands');
    assert.ok(COMMANDS.get('restore')?.has('--inert'), 'the help has the options');
    assert.deepEqual(inDocuments(unknownCommands), []);
  });

  it('name only make targets that exist', () => {
    assert.ok(TARGETS.length > 10);
    assert.deepEqual(inDocuments(unknownTargets), []);
  });

  it('would be found out', () => {
    assert.deepEqual(unknownPaths('see client/no-such.ts, src/nothing/ and gate/sessions'), [
      'client/no-such.ts',
      'src/nothing/',
    ]);
    assert.deepEqual(unknownPaths('shown by no-such.test.ts and samples.test.ts'), ['no-such.test']);
    assert.deepEqual(unknownFunctions('`noSuchFunction()`, `decodeRequest()` and `find_place()`'), [
      'noSuchFunction',
    ]);
    assert.deepEqual(unknownCommands('`dialback mend` and `dialback ls --what laptop -R`'), [
      'dialback mend',
      'dialback ls --what',
    ]);
    assert.deepEqual(unknownTargets('`make fuzz` and `make coffee`'), ['make coffee']);
    assert.deepEqual(
      brokenLinks('[x](no.md) [y](docs/manual.md#no-such) [z](docs/manual.md#commands)', 'README.md'),
      ['no.md', 'docs/manual.md#no-such'],
    );
  });
});

describe('README.md', () => {
  const readme = read('README.md');

  it('is short', () => {
    assert.ok(readme.split('\n').length <= 151, `${readme.split('\n').length} lines`);
  });

  it('names the distributions that make test-versions tests, and no others', () => {
    const rows = [...read('docs/versions.md').matchAll(/^\| [a-z-]+ \| ((?:Debian|Ubuntu) [\w.]+)/gm)];
    const tested = new Set(rows.map(([, name]) => name));
    assert.ok(tested.size > 5);
    const section = readme.slice(readme.indexOf('## Requirements'), readme.indexOf('## Install'));
    const named = new Set(
      [...section.matchAll(/^- .*$/gm)].flatMap(([line]) => line.match(/(?:Debian|Ubuntu) [\w.]+\w/g) ?? []),
    );
    assert.deepEqual([...named].sort(), [...tested].sort());
  });

  it('has the four commands from nothing to a backup, in their order', () => {
    const section = readme.slice(readme.indexOf('## Quick start'), readme.indexOf('## Every night'));
    const verbs = [...section.matchAll(/^\S+[$#] (?:.*\| )?dialback ([a-z]+)/gm)].map(([, verb]) => verb);
    assert.deepEqual(verbs.slice(0, 4), ['init', 'enroll', 'init', 'backup']);
  });
});
