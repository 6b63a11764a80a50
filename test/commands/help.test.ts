import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { EXIT, EXIT_MEANINGS, type ExitName } from '../../src/fault.ts';
import { plainText } from '../../src/output/terminal.ts';
import { COMMANDS, CollectingIo, commandOf } from '../support/command-line.ts';
import { says } from '../support/wording.ts';

/** The output of `dialback WORDS`, for a reader of UTF-8. */
async function printed(...argv: string[]): Promise<string> {
  const io = new CollectingIo({ isUtf8: true });
  const { command, words } = commandOf(argv);
  assert.equal(await command.run(command.parse(words), io), 'done');
  assert.equal(io.warned, '');
  return io.printed;
}

const HELP = await printed('help');

describe('the text on all commands', () => {
  it('has the whole table of exit statuses, and no other', () => {
    const table = HELP.slice(HELP.indexOf('Exit statuses:'));
    const lines = [...table.matchAll(/^ {2}([ \d]{3}) {2}(.+)$/gm)].map(([, number, words]) => [
      Number(number),
      words,
    ]);
    assert.deepEqual(
      lines,
      (Object.keys(EXIT) as ExitName[]).map(name => [EXIT[name], EXIT_MEANINGS[name]]),
    );
    assert.equal(new Set(Object.values(EXIT)).size, Object.keys(EXIT).length);
  });

  it('has one line for each verb that is no internal one, which says nothing of `relay`', () => {
    const verbs = [...HELP.matchAll(/^ {2}dialback ([a-z-]+)/gm)].map(([, verb]) => verb);
    assert.deepEqual(verbs, [
      'init',
      'rotate-key',
      'backup',
      'packages',
      'weigh',
      'gate',
      'grab',
      'enroll',
      'unenroll',
      'retire',
      'rename',
      'list',
      'ls',
      'cat',
      'diff',
      'explain',
      'find',
      'restore',
      'export',
      'offer',
      'fetch',
      'status',
      'metrics',
      'report',
      'web',
      'prune',
      'pin',
      'unpin',
      'remove',
      'remove-client',
      'verify',
      'copy-store',
      'adopt',
      'drill',
      'config',
      'doctor',
      'try',
      'help',
      'version',
    ]);
    assert.doesNotMatch(HELP, /relay|dialback manifest/);
  });

  it('is printable and fits 120 columns', () => {
    for (const line of HELP.split('\n')) {
      assert.doesNotMatch(line, /\p{Cc}/u);
      assert.ok(line.length <= 120, line);
    }
  });
});

describe('plainText()', () => {
  it('is ASCII for a reader without UTF-8', () => {
    assert.equal(plainText('run … and wait', true), 'run … and wait');
    assert.equal(plainText('run … and …', false), 'run ... and ...');
  });
  it('leaves no other character in the help', () => assert.match(plainText(HELP, false), /^[\n -~]+$/));
});

describe('help', () => {
  it('is the same, however it is asked for', async () => {
    for (const argv of [['help'], ['--help'], ['-h']]) assert.equal(await printed(...argv), HELP);
    for (const argv of [
      ['help', 'find'],
      ['find', '--help'],
      ['find', 'a', '-h', '--nonsense'],
    ])
      assert.equal(await printed(...argv), await printed('help', 'find'));
  });

  it('explains each option of a command, and then has the text on all commands', async () => {
    for (const { name, usage, options } of COMMANDS) {
      const text = await printed('help', name);
      assert.ok(text.startsWith(`dialback ${usage}\n`), text);
      assert.ok(text.endsWith(HELP));
      for (const { name: option, help } of options)
        assert.ok(
          text.split('\n').some(line => line.includes(` --${option} `) && line.endsWith(`  ${help}`)),
        );
    }
  });

  it('is refused for a word that is neither a topic nor a command', async () => {
    for (const word of ['hook', 'constructor', 'relay', '']) {
      const refused = printed('help', word);
      await assert.rejects(
        refused,
        new RegExp(`"${word}" ${says('is-neither-a-topic-nor', 'hooks').source}`),
      );
    }
  });

  it('has a text of its own for a topic', async () =>
    assert.match(await printed('help', 'hooks'), /^Hooks:/));
});

describe('COMMANDS', () => {
  for (const { name, usage, options, positionals, summary } of COMMANDS) {
    it(`${name} shows each of its options and arguments in its usage, and no others`, () => {
      const [, ...words] = usage.split(/[\s[\]|…]+/).filter(Boolean);
      const shown = words.filter(word => word.startsWith('-') && word !== '-');
      const known = options.flatMap(each => [`--${each.name}`, ...(each.short ? [`-${each.short}`] : [])]);
      assert.deepEqual(
        shown.filter(word => !known.includes(word)),
        [],
      );
      for (const { name: option, short } of options)
        assert.equal(
          shown.filter(word => word === `--${option}` || word === `-${short}`).length,
          1,
          `--${option}`,
        );
      const places = positionals.map(each => usage.indexOf(each.name));
      assert.ok(places.every((place, at) => place > (places[at - 1] ?? 0)));
    });

    it(`${name} has one line of plain text for itself and for each option`, () => {
      for (const text of [summary, ...options.map(each => each.help)]) assert.match(text, /^[ -~]{1,110}$/);
    });
  }

  it('has each name once, and each option of a command once', () => {
    const names = COMMANDS.map(each => each.name);
    assert.equal(new Set(names).size, names.length);
    for (const { options } of COMMANDS) {
      const all = options.flatMap(({ name, short }) => [name, ...(short ? [short] : [])]);
      assert.equal(new Set(all).size, all.length);
    }
  });
});
