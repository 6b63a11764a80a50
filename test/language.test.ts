import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import {
  checkedFiles,
  filesOver,
  habitsOf,
  habitsOfFile,
  LONGEST_SENTENCE,
  lowered,
  textsOf,
} from '../tools/language.ts';

const TOP = join(import.meta.dirname, '..');

const habits = (text: string): string[] => habitsOf({ line: 1, text }).map(each => each.habit);

const COUNTED: [habit: string, ...sentences: string[]][] = [
  [
    'a clause as a noun',
    'What is read is not written.',
    'Who calls is let in.',
    'Whoever comes late waits.',
    'The gate refuses it: what is asked for must be in the scope.',
    'A list of what was removed.',
    'It depends on who asks.',
    'The trees and what belongs to them.',
    'It is kept for whoever reads it.',
    'A lock, whoever holds it.',
  ],
  ['hence', 'Hence the limit.'],
  ['anew', 'It is read anew.'],
  ['in vain', 'It looks in vain.'],
  ['of late', 'The disk was full of late.'],
  ['so many', 'It keeps so many bytes of each.', 'It waits so long.'],
  ['alone', 'This file alone opens a database.', 'Of this mount alone: the options.'],
  ['mend', 'The command that mends it.', 'It was mended in 3.2.'],
  ['hole', 'A hole in rsync.', 'It has known holes.'],
  ['told', 'The client is told to wait.', 'It was never told.'],
  ['hear', 'The host hears of it.', 'It is heard in between.'],
  ['put aside', 'The journal is put aside.', 'It puts the old one aside.'],
  ['turn', 'It waits for its turn.'],
  ['nobody', 'Nobody may write it.'],
  ['none that', 'There is none that fits.'],
  ['nothing as a subject', 'Nothing is written.', 'There is nothing that can be read.'],
  ['ended', 'The run is ended after 30 s.'],
  [
    'a double negative',
    'It does not write nothing.',
    'It is not unusual.',
    'No file is read by none of them.',
    'It never runs without a lock.',
    'It prints nothing but the name.',
  ],
  [
    'an inversion',
    'So does the gate.',
    'It is not read, nor is it written.',
    'Only then is it removed.',
    'Not by a signal: the program catches those.',
    'Of these it takes the newest.',
    'Behind it stands the list.',
  ],
  ['British spelling', 'The colour.', 'It recognises the host.', 'Enrol the client.', 'It was cancelled.'],
  [`${LONGEST_SENTENCE + 1} words in a sentence`, `${'word '.repeat(LONGEST_SENTENCE)}end.`],
];

const FINE = [
  'What is a snapshot?',
  '## What it does',
  'The gate says who called.',
  'The client, who pays for it, waits.',
  'It reports the file that it read.',
  'Leave it alone.',
  'It stands alone.',
  'A sparse file has holes.',
  'The holes are zeros.',
  'It prints nothing.',
  'It does so many times that a limit is needed.',
  'It runs as long as the client waits.',
  'It cannot run without root.',
  'The command `what is this` is not read.',
  'Neither is read.',
  'In the store each client has a folder.',
  'It was exercised and promised, and otherwise surprised.',
  'Enroll the client; it is enrolled.',
  'It has recognized the color.',
  'The client told the host.',
  'The turn of the year.',
  `${'word '.repeat(LONGEST_SENTENCE - 1)}end. ${'word '.repeat(LONGEST_SENTENCE - 1)}end.`,
  `A list:\n- ${'word '.repeat(20)}\n- ${'word '.repeat(20)}`,
];

describe('habitsOf()', () => {
  for (const [habit, ...sentences] of COUNTED)
    it(`counts ${habit}`, () => {
      for (const sentence of sentences) assert.ok(habits(sentence).includes(habit), sentence);
    });

  it('does not count plain English, or code', () => {
    for (const sentence of FINE) assert.deepEqual(habits(sentence), [], sentence);
  });

  it('names the line of each', () => {
    const text = 'A first line.\nA second one, anew\nand nobody.';
    assert.deepEqual(
      habitsOf({ line: 10, text }).map(({ line, habit }) => [line, habit]),
      [
        [11, 'anew'],
        [12, 'nobody'],
      ],
    );
  });
});

describe('textsOf()', () => {
  const linesOf = async (file: string, text: string): Promise<number[]> => {
    const texts = await textsOf(new Map([[file, text]]));
    return habitsOfFile(texts.get(file) ?? {}).map(each => each.line);
  };

  it('reads comments and strings of TypeScript, and no code', async () => {
    const text = [
      '/** Nobody reads this. */',
      "import { nobody } from './nobody and nobody.ts';",
      '// Two lines, read',
      '// anew.',
      'const anew = /nobody anew/;',
      "const text = 'there is nobody';",
      `const other = \`nobody is \${anew} here\`; // nobody`,
    ].join('\n');
    assert.deepEqual(await linesOf('src/a.ts', text), [1, 4, 6, 7, 7]);
    assert.deepEqual(await linesOf('test/support/a.ts', text), [1, 4, 7]);
  });

  it('takes no comment out of a string, a template or a regular expression', async () => {
    const text = [
      "const a = 'x // nobody';",
      'const b = `/* nobody */ $' + '{a} // nobody`;',
      'const c = /[/]\\/\\/ nobody/;',
    ];
    assert.deepEqual(await linesOf('test/support/a.ts', text.join('\n')), []);
  });

  it('reads comments and strings of C', async () => {
    const text = '/* Nobody. */\nint nobody; // anew\ndie("nobody calls %s", "nobody");\n';
    assert.deepEqual(await linesOf('src/launcher/a.c', text), [1, 2, 3]);
  });

  it('reads the prose of Markdown, and no code', async () => {
    const text = 'Nobody.\n\n```\nnobody\n```\n\n- `nobody`\n- nobody\n\n| a | nobody |\n';
    assert.deepEqual(await linesOf('docs/a.md', text), [1, 8, 10]);
  });

  it('reads the comments of samples, and no keys that are switched off', async () => {
    assert.deepEqual(await linesOf('share/a.toml', '# Nobody.\n#nobody = 1\nnobody = 2\n'), [1]);
  });
});

describe('filesOver()', () => {
  it('names a file with more than its number, and one that has no number', () => {
    const counts = new Map([
      ['a', 3],
      ['b', 2],
      ['c', 1],
      ['d', 0],
    ]);
    assert.deepEqual(filesOver({ a: 2, b: 2 }, counts), ['a', 'c']);
  });
});

describe('lowered()', () => {
  it('lowers numbers, drops what is at zero, and raises none', () => {
    const counts = new Map([
      ['a', 1],
      ['b', 5],
      ['c', 0],
      ['new', 4],
    ]);
    assert.deepEqual(lowered({ a: 2, b: 3, c: 1, gone: 7 }, counts), { a: 1, b: 3 });
  });
});

describe('tools/language.json', () => {
  it('names only files that are checked', () => {
    const limits = JSON.parse(readFileSync(join(TOP, 'tools/language.json'), 'utf8')) as Record<
      string,
      number
    >;
    const files = new Set(checkedFiles(TOP));
    assert.deepEqual(
      Object.keys(limits).filter(file => !files.has(file)),
      [],
    );
  });
});
