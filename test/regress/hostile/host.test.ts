// Goal: a host that speaks rsync's protocol by hand, through the one-time sshd, the gate and the jail, gets nothing of a
// `never` and nothing excluded by any road but the open ones that docs/security.md names; it changes nothing on the
// client, every session ends in bounded time with one line, and the next honest run succeeds.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import {
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { scopeFilter } from '../../../src/client/filter.ts';
import { daemonArguments, daemonConfig, MODULE_PATH } from '../../../src/wire/rsync.ts';
import { assertDocumented } from '../../support/attempts.ts';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { stretch } from '../../support/fair-time.ts';
import {
  type Answer,
  type Attacked,
  Ended,
  HONEST,
  honestArguments,
  int,
  type Pull,
  takeOver,
  Victim,
  Wire,
} from '../../support/hostile-host.ts';
import { IS_LONG } from '../../support/long.ts';
import { diffManifests, manifest } from '../../support/manifest.ts';
import { matching, says } from '../../support/wording.ts';
import { NEEDS_ROOT, until, World } from '../../support/world.ts';

const SKIP = NEEDS_ROOT || IN_CLEAN_MACHINE;
/**
 * Set by test/versions/hostile.ts, which runs the attacks before another rsync: then nothing is asked of how rsync refuses, but
 * all of what it gives away. `most`: without the attacks that last long.
 */
const OTHER_RSYNC = process.env.DIALBACK_OTHER_RSYNC;
/** Every session has ended by then, whatever the host does; on a quiet machine. */
const BOUND_MS = OTHER_RSYNC ? 80_000 : 20_000; // those before 3.5.0 wait longer for arguments
/** Of the client, in seconds; where a session is to be silent, and where it only has to get on. */
const IDLE = { short: 4, long: 15 };
/** A host that is slow because the machine is busy must not look like one that is silent. */
const onThisMachine = (quiet: number): number => Math.ceil(quiet * stretch());
/** From the client's own limit to the session's end. */
const END_MS = 8_000;
const VICTIMS = IS_LONG ? 6 : 3;

/** What a file holds: found in what came, it has arrived. */
const mark = (name: string): string => `<<content of ${name}>>`;

/** Kept back: by the exclude list, by `never`, or since they are in no root. */
const EXCLUDED = [
  'private/secret',
  'private/rules',
  'private/linked',
  'top.key',
  'folder/deep.key',
  'anchored/only',
];
const NEVER = ['never/secret', 'never/rules', 'never/linked', 'lone never'];
const OUTSIDE = ['../outside/secret'];
const KEPT_BACK = [...EXCLUDED, ...NEVER, ...OUTSIDE];
/** Names that no attack asks for, so that they are heard only where a folder is listed. */
const SECRET_NAMES = ['name-in-private', 'name-in-never', 'name-outside'];
const IN_SCOPE = ['plain', 'folder/inner', 'anchored/beside'];

/** One way in. */
interface Attack {
  /** As docs/security.md has it. */
  what: string;
  /** What comes of it, in words for docs/security.md. */
  ends: string;
  play: (wire: Wire, data: string, state: string, world: World) => Promise<Answer | undefined>;
  /** What the other side says: one of its lines has this. */
  says?: RegExp;
  /** Whose contents arrive though they are kept back: a road that is open. */
  open?: string[];
  /** The secret names that are listed. */
  openNames?: string[];
  /** The run's scope is the whole machine. */
  isAll?: boolean;
  /** It is rsync's `idle_timeout` that ends it. */
  isSilent?: boolean;
  /** The run's own end in seconds, if it is not the host's hanging up. */
  deadline?: number;
  /** What more must hold. */
  check?: (answer: Answer | undefined, found: Attacked) => void;
  /** What must hold before any rsync. */
  compare?: (answer: Answer | undefined) => void;
}

const NOTHING = 'nothing';
const withoutRelative = [...HONEST, '-ltre.LsfxCIu'];
const namesOf = (answer: Answer | undefined): string[] =>
  (answer?.entries ?? []).map(each => each.name.replace(/^.*\/my data(\/|$)/, ''));
/** The same paths as they would be if they were not there. */
const absent = (text: string): string => text.replaceAll(/secret|rules/g, word => `${word.slice(0, -1)}X`);

/** The client's files: in the scope, excluded, `never`, and outside; and links between them. */
function plant(world: World): void {
  const { data } = world;
  const folders = ['folder', 'private', 'never', 'anchored', 'big', '../outside'];
  for (const folder of folders) mkdirSync(join(data, folder));
  // As rules, `rules` would take names off the list; the last line of the others is no rule.
  const content = (name: string): string =>
    `# ${mark(name)}\n- plain\n- inner\n${name.endsWith('rules') ? '' : mark(name)}\n`;
  for (const name of [...KEPT_BACK, ...IN_SCOPE]) writeFileSync(join(data, name), content(name));
  writeFileSync(join(data, 'a list'), '- plain\n');
  writeFileSync(join(data, 'private/name-in-private'), '');
  writeFileSync(join(data, 'never/name-in-never'), '');
  writeFileSync(join(data, '../outside/name-outside'), '');
  writeFileSync(join(data, 'big/large'), Buffer.alloc(16 * 1024 * 1024, 'large '));
  symlinkSync('private', join(data, 'to private'));
  symlinkSync('private/secret', join(data, 'to secret'));
  symlinkSync('never', join(data, 'to never'));
  symlinkSync('../outside', join(data, 'to outside'));
  linkSync(join(data, 'private/linked'), join(data, 'twin of excluded'));
  execFileSync('/usr/bin/mkfifo', [join(data, 'a pipe')]);
  const { uid, gid, home } = world.client;
  execFileSync('/bin/chown', ['-hR', `${uid}:${gid}`, data, join(home, 'outside')]);
  for (const name of ['private/secret', 'never/secret'])
    execFileSync('/bin/chmod', ['600', join(data, name)]);
  execFileSync('/bin/chown', ['0:0', join(data, 'never/secret'), join(data, 'private/secret')]);
  assert.equal(statSync(join(data, 'private/secret')).uid, 0);
}

/** Those that wait for a deadline, among the others. */
function spread(attacks: Attack[]): Attack[] {
  const waits = attacks.filter(each => each.deadline);
  const others = attacks.filter(each => !each.deadline);
  const distance = Math.ceil(others.length / waits.length);
  return others.flatMap((each, at) =>
    at % distance === 0 ? [...waits.slice(at / distance, at / distance + 1), each] : [each],
  );
}

/**
 * What shows that anything but an access time was changed: of every file the time of its inode's last change, which
 * nobody can set, and what goes with it. Cheaper than a manifest, and there are many attacks.
 */
function stampsOf(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'latin1' })
    .concat('.')
    .map(name => {
      const { ino, mode, size, ctimeNs, mtimeNs } = lstatSync(join(folder, name), { bigint: true });
      return [name, ino, mode, size, ctimeNs, mtimeNs].join(' ');
    })
    .sort();
}

/** An attack that is one pull. @param how out of the data's folder */
function pull(
  what: string,
  ends: string,
  how: (data: string, state: string) => Partial<Pull> & { names: string[] },
  more: Partial<Attack> = {},
): Attack {
  return {
    what,
    ends,
    play: async (wire, data, state) => await wire.pull(how(data, state)),
    // It has come as far as the list, and was told so for each name.
    ...(ends === NOTHING ? { says: /link_stat .* failed: No such file or directory/ } : {}),
    ...more,
  };
}

function sees(names: string[], missing: string[] = []): (answer: Answer | undefined) => void {
  return answer => {
    const found = namesOf(answer);
    for (const name of names) assert.ok(found.includes(name), `${name} in ${found.join(', ')}`);
    for (const name of missing) assert.ok(!found.includes(name), `${name} in ${found.join(', ')}`);
  };
}

/** Two attacks whose answers must be alike but for the names that were asked for. */
function alike(
  what: string,
  how: (data: string) => Partial<Pull> & { names: string[] },
  check: (answer: Answer | undefined) => void = () => {},
): Attack[] {
  const answers: string[] = [];
  const compare = (answer: Answer | undefined): void => {
    assert.ok(answer);
    const entries = answer.entries.map(each => `${each.name} ${each.mode} ${each.size} ${each.target}`);
    answers.push(absent([...entries, ...answer.words, `whole: ${answer.isWhole}`].join('\n')));
    if (answers.length === 2) assert.equal(answers[1], answers[0]);
  };
  const other = (data: string): Pull => {
    const options = how(data);
    return {
      ...options,
      names: options.names.map(absent),
      rules: (options.rules ?? []).map(rule => absent(String(rule))),
    };
  };
  return [
    pull(`${what}: of files that are there`, 'the same as for files that are not there', how, {
      check,
      compare,
    }),
    pull(`${what}: of files that are not there`, 'the same as for files that are there', other, {
      check,
      compare,
    }),
  ];
}

function names(): Attack[] {
  const honest = (answer: Answer | undefined): void => {
    sees(IN_SCOPE, KEPT_BACK)(answer);
    assert.ok(answer?.isWhole);
    for (const name of IN_SCOPE) {
      const key = [...answer.contents.keys()].find(each => each.endsWith(`my data/${name}`)) ?? '';
      assert.ok(answer.contents.get(key)?.includes(mark(name)), name);
    }
  };
  const twin = { open: ['private/linked'] };
  const all = (data: string): string[] => KEPT_BACK.map(name => join(data, name));
  const versions = [29, 32].map(protocol =>
    pull(
      `protocol ${protocol}: the whole root`,
      'the scope, and an excluded file by its hard link in it',
      data => ({ names: [data], protocol }),
      {
        ...twin,
        check: honest,
      },
    ),
  );
  const checksums = ['xxh64', 'md4'].map(name =>
    pull(
      `checksum ${name}: the whole root`,
      'the scope, and an excluded file by its hard link in it',
      data => ({ names: [data], checksums: name }),
      {
        ...twin,
        check: honest,
      },
    ),
  );
  return [
    ...versions,
    ...checksums,
    pull('checksum of an unknown name', 'refused', data => ({ names: [data], checksums: 'rot13' }), {
      check: answer => assert.deepEqual(answer?.entries, []),
    }),
    pull('names of files that are kept back', NOTHING, data => ({ names: all(data) }), {
      check: sees([], KEPT_BACK),
    }),
    pull('the same without `--relative`', NOTHING, data => ({ names: all(data), args: withoutRelative }), {
      check: sees([], ['secret', 'rules']),
    }),
    pull('the same with `/./` before each part', NOTHING, data => ({
      names: all(data).flatMap(path =>
        [...path.matchAll(/\//g)].map(({ index }) => `${path.slice(0, index)}/.${path.slice(index)}`),
      ),
    })),
    pull('doubled slashes, dots, trailing slashes', NOTHING, data => ({
      names: ['private/secret', 'never/secret'].flatMap(name => [
        `/${data}//${name.replace('/', '//')}`,
        `/.${data}/./${name.replace('/', '/./')}`,
        `${data}/${name}/`,
        `${data}/${name}/.`,
        `${join(data, name, '..')}/`,
        `${join(data, name, '..')}/.`,
        `${join(data, name, '..')}//.//`,
      ]),
    })),
    pull('`..` in names, without `--relative`', NOTHING, data => ({
      names: ['private', 'never']
        .flatMap(name => [
          `${data}/folder/../${name}/secret`,
          `${data}/${name}/../${name}/secret`,
          `${data}/folder/../${name}`,
          `${data}/${name}/..`,
          `${data}/${name}/secret/../secret`,
          `/../../..${data}/${name}/secret`,
        ])
        .filter(path => !path.endsWith('/..')),
      args: withoutRelative,
    })),
    pull('`..` in names, with `--relative`', NOTHING, data => ({
      names: ['private', 'never'].flatMap(name => [
        `${data}/folder/../${name}/secret`,
        `${data}/./folder/../${name}`,
      ]),
    })),
    pull(
      'globs',
      '**open**: only the target of a symlink in the scope',
      data => ({
        names: [
          `${data}/*/secret`,
          `${data}/[pn]*/*`,
          `${data}/private/*`,
          `${data}/never/s?cret`,
          `${data}/{private,never}/secret`,
          `${data}/*.key`,
          `${data}/**/secret`,
          `${data}/lone*`,
        ],
        wants: each => !each.name.includes('large'),
      }),
      { open: ['private/secret'], check: sees(['to private/secret'], KEPT_BACK) },
    ),
    pull('two names in one argument, split at the module', NOTHING, data => ({
      names: [`${data}/plain root${data}/private/secret root${data}/never/secret`],
    })),
    pull('names outside of the roots', NOTHING, data => ({
      names: [
        '/',
        '/etc/passwd',
        '/etc/shadow',
        '/root',
        '/dev/zero',
        '/dev/mem',
        '/tmp',
        join(data, '..', 'client.toml'),
      ],
    })),
    pull('names through /proc', NOTHING, data => ({
      names: ['root', 'cwd', 'fd/0', 'fd/3'].flatMap(link => [
        `/proc/self/${link}${data}/private/secret`,
        `/proc/self/${link}${data}/never/secret`,
      ]),
    })),
    pull(
      'the whole machine as the scope: the state folder, the keys, /proc, /dev',
      NOTHING,
      (data, state) => ({
        names: [
          ...all(data),
          join(data, '../.ssh/id_ed25519'),
          ...['', 'run-*/host_key', 'run-*/rsyncd/*', 'run-*/scope', 'journal.jsonl'].map(name =>
            join(state, name),
          ),
          '/proc/self/environ',
          `/proc/self/root${data}/never/secret`,
          '/dev/zero',
        ],
      }),
      {
        isAll: true,
        check: answer =>
          assert.deepEqual(
            namesOf(answer).filter(name => /host_key|scope|journal|filter|environ|zero|id_ed/.test(name)),
            [],
          ),
      },
    ),
    ...alike('asking for kept-back names', data => ({ names: all(data) })),
    ...alike('the same without `--relative`: asking', data => ({ names: all(data), args: withoutRelative })),
    {
      what: 'a name below a kept-back file',
      ends: '**open**: "Not a directory" instead of "No such file": a guessed name of a file is confirmed',
      play: async (wire, data) =>
        await wire.pull({ names: ['secret/x', 'secreX/x'].map(name => join(data, 'private', name)) }),
      check: answer => {
        assert.match(answer?.words[0] ?? '', /secret\/x" .* Not a directory/);
        assert.match(answer?.words[1] ?? '', /secreX\/x" .* No such file or directory/);
      },
    },
    pull(
      'a symlink in the scope to an excluded folder',
      '**open**: all of it',
      data => ({
        names: [`${data}/to private/`, `${data}/to private/secret`],
        wants: each => each.name.endsWith('/secret'),
      }),
      {
        open: ['private/secret'],
        openNames: ['name-in-private'],
      },
    ),
    pull('a symlink in the scope to an excluded file', 'the link, not the file', data => ({
      names: [`${data}/to secret`, `${data}/to secret/.`],
    })),
    pull(
      'a symlink in the scope to a `never`',
      '**open**: names, sizes and times; no content',
      data => ({ names: [`${data}/to never/`, `${data}/to never/secret`] }),
      {
        openNames: ['name-in-never'],
        says: /failed to open .* Permission denied/,
      },
    ),
    pull(
      'a symlink in the scope to a file outside of all roots',
      '**open**: names, sizes and times of files whose names are known; no content',
      data => ({ names: [`${data}/to outside/`, `${data}/to outside/secret`] }),
      {
        says: /Permission denied/,
      },
    ),
    module('no module: a list of modules', '', 'an empty list', /@RSYNCD: EXIT/),
    module('another module', '../root', 'refused', /@ERROR: Unknown module/),
    module('an unknown command', '#reload', 'refused', /@ERROR: Unknown command/),
    ...[
      [
        'an index that is not in the list',
        (wire: Wire): Buffer => wire.index(100_000),
        /File-list index 100000 not in/,
      ],
      ['a negative index', (): Buffer => Buffer.from([0xff, 100]), /Invalid (file|dir) index/],
      [
        'an index that overflows',
        (): Buffer => Buffer.from([0xfe, 0xff, 0xff, 0xff, 0xff]),
        /index 2147483647 not in/,
      ],
      ['the content of a folder', (wire: Wire): Buffer => wire.index(0), /non-regular file/],
    ].map(([what, index, says]) => request(what as string, index as (wire: Wire) => Buffer, says as RegExp)),
    {
      what: 'the content of a FIFO',
      ends: 'refused',
      says: /non-regular file/,
      play: async (wire, data) => {
        const entries = await begin(wire, [`${data}/a pipe`]);
        wire.ask([entries.findIndex(each => each.name.endsWith('a pipe'))]);
        await wire.end();
        return undefined;
      },
    },
  ];
}

/** As far as the file list. */
async function begin(
  wire: Wire,
  names: string[],
  sent: (string | Buffer)[] = [],
): Promise<Answer['entries']> {
  await wire.greet(32);
  await wire.open();
  wire.sendArguments([...honestArguments(), '.', ...names.map(name => `root${name}`)]);
  await wire.agree();
  wire.sendRules(sent);
  return await wire.list();
}

function module(what: string, name: string, ends: string, says: RegExp): Attack {
  return {
    what,
    ends,
    says,
    play: async wire => {
      await wire.greet(32);
      assert.equal(await wire.open(name), false);
      await wire.end();
      return undefined;
    },
  };
}

/** Asks for something by a request of its own. */
function request(
  what: string,
  index: (wire: Wire, entries: Answer['entries']) => Buffer,
  says: RegExp,
  head: Buffer = Buffer.alloc(16),
  ends = 'refused',
): Attack {
  return {
    what,
    ends,
    says,
    play: async (wire, data) => {
      const entries = await begin(wire, [data]);
      wire.send(Buffer.concat([index(wire, entries), Buffer.from([0, 0x80]), head]));
      await wire.end();
      return undefined;
    },
  };
}

function rules(): Attack[] {
  const twin = { open: ['private/linked'] };
  const some = (answer: Answer | undefined): void => sees(IN_SCOPE, KEPT_BACK)(answer);
  // rsync from 3.5.0 on ends the session, older ones go on without the rules: no rule takes `plain` off the list.
  const unread = (answer: Answer | undefined): void => {
    if (answer?.entries.length !== 0) sees(['plain'])(answer);
  };
  const secrets = ['private/rules', 'never/rules', 'private/secret', 'never/secret'];
  /** Every kind of merge, of files by their whole paths, from the root on, and from each folder on. */
  const merges = (data: string): string[] => [
    ...secrets.flatMap(name =>
      [
        '.',
        'merge',
        '.-',
        '.+',
        '.e',
        '.n',
        '.w',
        '.w-',
        '.C',
        '.s',
        ':',
        ':n-',
        'dir-merge,-',
        ':C',
        ':w-',
        ':e+',
      ].map(kind => `${kind} ${join(data, name)}`),
    ),
    ...secrets.flatMap(name => ['.', '.-', ':-'].map(kind => `${kind} ${join(data, name).slice(1)}`)),
    ...secrets.flatMap(name => ['.', '.-'].map(kind => `${kind} ${data}/folder/../${name}`)),
    ...secrets.flatMap(name => ['.', '.-'].map(kind => `${kind} /${data}//${name.replace('/', '//./')}`)),
    ...secrets.flatMap(name => [`:- ${name}`, `: ../${name}`, `:w- ../../my data/${name}`]),
  ];
  return [
    pull(
      'rules: `!`, `clear`, and includes of everything',
      'the scope, as without them',
      data => ({
        names: [data, ...KEPT_BACK.map(name => join(data, name))],
        rules: [
          '!',
          'clear',
          '+ **',
          '+ /**',
          'include *',
          'S **',
          'show /**',
          'R **',
          'risk *',
          '+! nothing',
          '!',
          ...KEPT_BACK.map(name => `+ ${join(data, name)}`),
        ],
      }),
      { ...twin, check: some },
    ),
    pull(
      'the same at protocol 29',
      'the scope, as without them',
      data => ({
        names: [data, ...KEPT_BACK.map(name => join(data, name))],
        protocol: 29,
        rules: ['!', 'clear', '+ **', 'S **', 'R **', '!'],
      }),
      { ...twin, check: some },
    ),
    pull(
      'a merge of a file in the scope',
      'it is not read',
      data => ({ names: [`${data}/plain`], rules: [`. ${data}/a list`] }),
      { check: unread },
    ),
    ...alike(
      'merge rules, of all kinds',
      data => ({ names: [`${data}/folder`, `${data}/plain`], rules: merges(data) }),
      sees(['plain', 'folder/inner']),
    ),
    ...alike(
      'the same at protocol 29: merge rules',
      data => ({ names: [`${data}/folder`, `${data}/plain`], rules: merges(data), protocol: 29 }),
      sees(['plain', 'folder/inner']),
    ),
    ...alike(
      'a merge through a symlink in the scope to an excluded folder',
      data => ({ names: [`${data}/folder`, `${data}/plain`], rules: [`. ${data}/to private/rules`] }),
      unread,
    ),
    ...alike(
      'a merge through a symlink in the scope to an excluded file that is no list of rules',
      data => ({ names: [`${data}/plain`], rules: [`. ${data}/to private/secret`] }),
      unread,
    ),
    ...alike(
      'a merge through a symlink in the scope to a `never`',
      data => ({ names: [`${data}/plain`], rules: [`. ${data}/to never/rules`] }),
      unread,
    ),
    pull(
      'a merge of a file outside of the roots',
      NOTHING,
      data => ({
        names: [`${data}/plain`],
        rules: [
          '. /etc/passwd',
          '.- /etc/shadow',
          '. /proc/self/environ',
          ': /etc/passwd',
          '. /dev/stdin',
          '. -',
        ],
      }),
      { says: /^/, check: sees(['plain']) },
    ),
    pull('a rule that is none', 'refused', data => ({ names: [data], rules: ['% nonsense'] }), {
      says: /Unknown filter rule/,
    }),
    pull('100,000 rules', 'they are read', data => ({
      names: [`${data}/folder`],
      rules: [Buffer.from('- x'), ...Array.from({ length: 100_000 }, (_, at) => `- ${at}`)],
    })),
    pull(
      'a rule of 5000 bytes',
      'dropped',
      data => ({ names: [`${data}/folder`], rules: [`+ ${'x'.repeat(4998)}`] }),
      { says: /over-long filter/ },
    ),
    {
      what: 'a rule of 2 GiB',
      ends: 'refused',
      says: /buffer overflow|overflow/,
      play: async (wire, data) => {
        await upToRules(wire, [data]);
        wire.send(int(0x7fffffff));
        await wire.end();
        return undefined;
      },
    },
  ];
}

async function upToRules(wire: Wire, names: string[], args = honestArguments()): Promise<void> {
  await wire.greet(32);
  await wire.open();
  wire.sendArguments([...args, '.', ...names.map(name => `root${name}`)]);
  await wire.agree();
}

function options(): Attack[] {
  const refused = [
    ['-L'],
    ['-k'],
    ['--copy-unsafe-links'],
    ['--copy-devices'],
    ['--insecure-links'],
    ['--remove-source-files'],
    ['--delete-excluded'],
    ['--log-file=/tmp/dialback-hostile.log'],
    ['--debug=FILTER2,FLIST4'],
    ['--files-from=-'],
    ['--files-from=/etc/passwd'],
    ['--exclude-from=/etc/passwd'],
    ['-C'],
    ['-z'],
    ['--compress-choice=zstd'],
    ['--compress-level=19'],
  ];
  return [
    ...refused.map(option =>
      pull(
        `option \`${option.join(' ')}\``,
        'refused',
        data => ({ names: [data], args: [...HONEST, ...option, '-ltRre.LsfxCIu'] }),
        {
          says: /refuse|unknown option|not allowed|invalid/i,
          check: answer => assert.deepEqual(answer?.entries, []),
        },
      ),
    ),
    pull(
      'option `-vvvv`',
      'allowed; no rule and no kept-back name is said',
      data => ({
        names: [data],
        args: [...HONEST, '-vvvv', '-ltRre.LsfxCIu'],
        wants: each => !each.name.includes('large'),
      }),
      {
        open: ['private/linked'],
        check: (answer, found) => {
          assert.ok(answer?.isWhole);
          assert.doesNotMatch(
            `${answer.words.join('\n')}${found.stderr}`,
            /private\b(?!")|hiding|excluding|\*\*/,
          );
        },
      },
    ),
  ];
}

function modes(): Attack[] {
  const writes = (what: string, args: string[]): Attack => ({
    what,
    ends: 'refused: the module is read only',
    says: /module is read only/,
    play: async (wire, data) => {
      await wire.greet(32);
      await wire.open();
      wire.sendArguments([...args, '.', `root${data}/folder/`]);
      await wire.agree();
      await wire.end();
      return undefined;
    },
  });
  const secluded = (option: string): Attack => ({
    what: `\`${option}\`, and a second command line`,
    ends: 'refused before the second one is read',
    says: /refuse/,
    play: async (wire, data) => {
      await wire.greet(32);
      await wire.open();
      wire.sendArguments([...HONEST, option, '-ltRre.LsfxCIu', '.']);
      wire.sendArguments([
        'rsync',
        '--server',
        '--sender',
        '-logDtpLre.LsfxCIu',
        '--copy-unsafe-links',
        '.',
        `root${data}/private/secret`,
        `root${data}/never/secret`,
      ]);
      await wire.agree();
      wire.sendRules([]);
      await wire.end();
      return { entries: [], contents: new Map(), words: wire.words, isWhole: false };
    },
  });
  return [
    writes('to receive: no `--sender`', ['--server', '-ltre.LsfxCIu']),
    writes('to receive: `--sender` as the argument of `-e`', ['--server', '-ltr', '-e', '--sender']),
    pull('options behind the dot', 'refused', data => ({ names: ['-L', '--copy-unsafe-links', data] }), {
      says: /refuse/,
    }),
    secluded('-s'),
    secluded('--protect-args'),
    pull(
      '2000 arguments',
      'they are served',
      data => ({ names: Array.from({ length: 2000 }, () => `${data}/plain`) }),
      { check: sees(['plain']) },
    ),
    pull('an argument of 1 MiB', 'cut, and nothing', () => ({ names: ['/x'.repeat(512 * 1024)] })),
  ];
}

function brokenTalk(): Attack[] {
  const greeting = (what: string, text: string, ends: string, says?: RegExp): Attack => ({
    what,
    ends,
    ...(says ? { says } : {}),
    play: async wire => {
      await wire.line();
      wire.sendRaw(text);
      wire.child.stdin?.end();
      await wire.end();
      return undefined;
    },
  });
  /** Silent at some point: the client ends it. */
  const silent = (
    what: string,
    ends: string,
    play: (wire: Wire, data: string, state: string, world: World) => Promise<void>,
    more: Partial<Attack> = {},
  ): Attack => ({
    what,
    ends,
    play: async (wire, data, state, world) => {
      await play(wire, data, state, world);
      await wire.end();
      return undefined;
    },
    ...more,
  });
  /** Writes on and on, as fast as it goes, until the other side hangs up. */
  const flood = async (wire: Wire, bytes: () => Buffer): Promise<void> => {
    const { stdin } = wire.child;
    const chunk = bytes();
    while (stdin && !stdin.destroyed && wire.child.exitCode === null && wire.child.signalCode === null) {
      if (!stdin.write(chunk))
        await Promise.race([
          new Promise(resolve => stdin.once('drain', resolve)),
          new Promise(resolve => wire.child.once('close', resolve)),
        ]);
    }
  };
  const DEADLINE = { deadline: 12 };
  const BY_DEADLINE = "ended by the run's deadline";
  const head = (count: number, block: number, sum: number, rest: number): Buffer =>
    Buffer.concat([int(count), int(block), int(sum), int(rest)]);
  const plainIndex = (wire: Wire, entries: Answer['entries']): Buffer =>
    wire.index(entries.findIndex(each => each.name.endsWith('/plain')));
  return [
    greeting('version 0', '@RSYNCD: 0.0 md5\nroot\n', 'refused'),
    greeting('version 4000000000', '@RSYNCD: 4000000000.0 md5\nroot\n', 'refused'),
    greeting(
      'version 32 without its subversion',
      '@RSYNCD: 32 md5\nroot\n',
      'refused',
      /omitted the subprotocol/,
    ),
    greeting('version 32 without digests', '@RSYNCD: 32.0\nroot\n', 'refused', /omitted the digest/),
    greeting('a greeting that is none', 'GET / HTTP/1.1\r\n\r\n', 'refused', /protocol startup error/),
    greeting('an end after the greeting', '@RSYNCD: 32.0 md5\n', 'the session ends'),
    greeting('an end within the arguments', '@RSYNCD: 32.0 md5\nroot\n--server\0--sen', 'the session ends'),
    silent(
      'half a greeting, then silence',
      BY_DEADLINE,
      async wire => {
        await wire.line();
        wire.sendRaw('@RSYN');
      },
      DEADLINE,
    ),
    silent(
      'half the arguments, then silence',
      'ended by `idle_timeout`',
      async wire => {
        await wire.greet(32);
        await wire.open();
        wire.sendRaw('--server\0--sen');
      },
      { isSilent: true },
    ),
    silent(
      'half a rule, then silence',
      BY_DEADLINE,
      async (wire, data) => {
        await upToRules(wire, [data]);
        wire.send(Buffer.concat([int(100), Buffer.from('- half')]));
      },
      DEADLINE,
    ),
    silent(
      'the list, and no request for any file',
      BY_DEADLINE,
      async (wire, data) => {
        await begin(wire, [`${data}/folder`]);
      },
      DEADLINE,
    ),
    silent(
      'half a request, then silence',
      BY_DEADLINE,
      async (wire, data) => {
        await begin(wire, [`${data}/folder`]);
        wire.send(wire.index(0));
      },
      DEADLINE,
    ),
    {
      what: 'answers that are not read',
      ends: 'ended by `idle_timeout`',
      isSilent: true,
      play: async (wire, data, state, world) => {
        const entries = await begin(wire, [`${data}/big`]);
        wire.child.stdout?.pause();
        wire.ask([entries.findIndex(each => each.name.endsWith('large'))]);
        const reads = (): boolean =>
          world.processes().some(({ command }) => command.includes('--daemon') && command.includes(state));
        assert.ok(reads());
        await until("the client's rsync has ended", () => !reads());
        return undefined;
      },
    },
    silent(
      'a byte every half second, of a rule',
      BY_DEADLINE,
      async (wire, data) => {
        await upToRules(wire, [data]);
        wire.sendRaw(int((7 << 24) | 4000));
        wire.sendRaw(int(3990));
        const timer = setInterval(() => wire.sendRaw('x'), 500);
        wire.child.once('close', () => clearInterval(timer));
      },
      DEADLINE,
    ),
    silent('an endless greeting', 'refused', async wire => {
      await wire.line();
      await flood(wire, () => Buffer.alloc(65_536, '@'));
    }),
    silent(
      'an endless argument',
      'ended by `idle_timeout`',
      async wire => {
        await wire.greet(32);
        await wire.open();
        await flood(wire, () => Buffer.alloc(65_536, 'x'));
      },
      { isSilent: true },
    ),
    silent('endless arguments', 'refused', async wire => {
      await wire.greet(32);
      await wire.open();
      await flood(wire, () => Buffer.alloc(65_536, '-v\0'));
    }),
    silent(
      'endless requests',
      BY_DEADLINE,
      async (wire, data) => {
        const entries = await begin(wire, [`${data}/plain`]);
        const plain = entries.findIndex(each => each.name.endsWith('plain'));
        const one = Buffer.concat([wire.index(plain), Buffer.from([0, 0x80]), Buffer.alloc(16)]);
        wire.send(one);
        const again = Buffer.concat([Buffer.from([0xfe, 0, 0, 0, 0x80]), Buffer.alloc(16)]);
        const frame = Buffer.concat([int((7 << 24) | again.length), again]);
        await flood(wire, () => Buffer.concat(Array.from({ length: 1000 }, () => frame)));
      },
      DEADLINE,
    ),
    request(
      '2^31-1 checksums for a file',
      plainIndex,
      /exceeded --max-alloc/,
      head(0x7fffffff, 700, 16, 0),
      'refused',
    ),
    request('-1 checksums', plainIndex, /Invalid checksum count/, head(-1, 700, 16, 0)),
    request('a block of 2^31-1 bytes', plainIndex, /Invalid block length/, head(1, 0x7fffffff, 16, 0)),
    silent('a frame of an unknown kind', 'the session ends', async (wire, data) => {
      await upToRules(wire, [data]);
      wire.sendRaw(Buffer.concat([int(((7 + 77) << 24) | 4), Buffer.from('abcd')]));
    }),
    silent('a frame for the other side (`MSG_STATS`)', 'the session ends', async (wire, data) => {
      await upToRules(wire, [data]);
      wire.sendRaw(Buffer.concat([int(((7 + 10) << 24) | 8), Buffer.alloc(8)]));
    }),
    silent(
      'an early input of 2 GiB',
      'refused',
      async wire => {
        await wire.greet(32);
        wire.sendRaw('#early_input=2147483647\n');
      },
      { says: /invalid early_input/ },
    ),
  ];
}

const ATTACKS = [
  ...[...names(), ...rules(), ...options(), ...modes()],
  ...(OTHER_RSYNC === 'most' ? [] : brokenTalk()),
];
/** All of them are a soak. The short suite has each twelfth; two whose answers are compared count as one. */
const CHOSEN = [
  ...Map.groupBy(ATTACKS, ({ what }) => what.replace(/: of files that are (not )?there$/, '')).values(),
].flatMap((attacks, at) => (IS_LONG || OTHER_RSYNC || at % 12 === 0 ? attacks : []));

describe('a hostile host', { skip: SKIP }, () => {
  let world: World;
  let untouched: () => void;
  let unchanged: () => string[];
  let hangUp: () => void;
  const free: Victim[] = [];
  const done = new Set<Attack>();

  before(async () => {
    world = await World.make({ launcher: true });
    plant(world);
    const places = [world.data, join(world.client.home, 'outside'), join(world.client.home, '.ssh')];
    const stamps = places.map(stampsOf);
    const manifests = places.map(place => manifest(place));
    untouched = () => assert.deepEqual(places.map(stampsOf), stamps, 'something on the client has changed');
    unchanged = () =>
      places.flatMap((place, at) => diffManifests(manifests[at] ?? new Map(), manifest(place)));
    hangUp = takeOver(world);
    for (let index = 0; index < VICTIMS; index += 1) free.push(new Victim(world, index));
  });
  after(async () => {
    await world.dispose();
  });

  describe('asks for', { concurrency: VICTIMS }, () => {
    for (const attack of spread(CHOSEN)) {
      it(attack.what, async () => {
        const victim = free.pop() ?? assert.fail('more attacks at once than victims');
        try {
          await make(victim, attack);
          done.add(attack);
        } finally {
          free.push(victim);
        }
      });
    }
  });

  async function make(victim: Victim, attack: Attack): Promise<void> {
    const { data } = world;
    const list = (paths: string[]): string => paths.map(path => JSON.stringify(path)).join(', ');
    const never = list([join(data, 'never'), join(data, 'lone never')]);
    const exclude = list([
      'private',
      '*.key',
      join(data, 'anchored/only'),
      join(world.client.home, 'outside/'),
    ]);
    const scope = `roots = ["${attack.isAll ? '/' : data}"]\nnever = [${never}]\nexclude = [${exclude}]`;
    const idle = onThisMachine(attack.isSilent || attack.deadline ? IDLE.short : IDLE.long);
    // A client gives up by itself when nothing was copied for a minute.
    const deadline = attack.deadline
      ? Math.min(onThisMachine(attack.deadline), 50)
      : onThisMachine(OTHER_RSYNC ? 300 : 60);
    const ownLimitMs = 1000 * (attack.deadline ? deadline : attack.isSilent ? idle : 0);
    victim.configure(scope, `idle_timeout = "${idle}s"\ndeadline = "${deadline}s"`);
    let answer: Answer | undefined;
    const found = await victim.attacked(async wire => {
      try {
        answer = await attack.play(wire, data, victim.state, world);
      } catch (error) {
        if (!OTHER_RSYNC || !(error instanceof Ended)) throw error; // it waits for more, and we hang up
      }
    });

    const what = `${answer?.words.join('\n') ?? ''}\n${found.stderr}`;
    const open = new Set(attack.open);
    const openNames = new Set(attack.openNames);
    if (OTHER_RSYNC) open.add('private/linked'); // by its twin in the scope
    if (OTHER_RSYNC && listsAll(victim)) openNames.add('name-outside');
    /** A road that is open need not be one before every rsync. */
    const isExpected = (isHeard: boolean, isOpen: boolean): boolean =>
      isHeard === isOpen || (OTHER_RSYNC !== undefined && isOpen);
    for (const name of KEPT_BACK)
      assert.ok(isExpected(found.heard.includes(mark(name)), open.has(name)), `${name}: ${what}`);
    for (const name of SECRET_NAMES)
      assert.ok(isExpected(found.heard.includes(name), openNames.has(name)), `${name}: ${what}`);
    for (const line of readFileSync(join(world.client.home, '.ssh/id_ed25519'), 'latin1')
      .split('\n')
      .slice(1, -2))
      assert.ok(!found.heard.includes(line), "the client's private key");
    untouched();
    assert.ok(found.sessionMs < Math.max(BOUND_MS, ownLimitMs + END_MS), `it took ${found.sessionMs} ms`);
    attack.compare?.(answer);
    if (attack.says && !OTHER_RSYNC) assert.match(`${what}\n${found.heard.toString('latin1')}`, attack.says);

    const { client, journal } = found;
    const reason = attack.deadline
      ? matching`${says('the-deadline-has-passed')}$`
      : matching`${says('it-hung-up-without-an-outcome')} 1\)$`;
    const said = client.stderr.trim().split('\n');
    assert.equal(client.status, 1, client.stderr);
    assert.match(said[0] ?? '', /^dialback: Cannot /);
    assert.match(said[0] ?? '', reason);
    assert.ok(
      said.slice(1).every(line => line.startsWith('next: ')),
      client.stderr,
    );
    assert.deepEqual(
      journal.map(each => each.event),
      ['started', 'granted', 'finished'],
    );
    assert.match(String(journal.at(-1)?.reason), reason);
    if (!OTHER_RSYNC) attack.check?.(answer, found);
  }

  /** Whether this rsync must be able to list all folders (client/trial.ts). */
  function listsAll(victim: Victim): boolean {
    return /"listsAll":true/.test(readFileSync(join(victim.state, 'rsync.json'), 'utf8'));
  }

  // So the attacks with merge rules would have been answered differently, had there been anything to tell.
  it('reads an excluded file as rules where module and filter have not got what keeps it back', async t => {
    if (OTHER_RSYNC) return t.skip('inside another suite: test/attacks.test.ts shows it with any rsync');
    const { client, data } = world;
    const scope = { roots: [data], never: [], excludes: ['private'] };
    const heard = async (filter: string): Promise<Answer> => {
      world.write(client, join(client.home, 'filter'), filter);
      const config = daemonConfig({ filter: join(client.home, 'filter'), idleSeconds: 10, confined: false });
      world.write(
        client,
        join(client.home, 'rsyncd.conf'),
        config.replace(`path = ${MODULE_PATH}\n`, 'path = /\n'),
      );
      const args = daemonArguments(join(client.home, 'rsyncd.conf'), 0);
      const child = spawn('/usr/bin/rsync', args, { cwd: '/', env: {}, uid: client.uid, gid: client.gid });
      const wire = new Wire(child);
      return await wire.pull({ names: [`${data}/plain`], rules: [`. ${data}/private/rules`] });
    };
    const filter = scopeFilter(scope);
    sees(['plain'])(await heard(filter));
    sees([], ['plain'])(await heard(filter.replace('- private/**\n', '')));
  });

  describe('after all of it', () => {
    it('has left nothing behind', async () => {
      await until(`nothing is left: ${world.leftovers().join('; ')}`, () => world.leftovers().length === 0);
    });
    it('has changed nothing on the client', () => {
      assert.deepEqual(unchanged(), []);
    });
    it('finds an honest host, and an honest run succeeds', async () => {
      hangUp();
      const { data } = world;
      world.configure({
        scope: `roots = ["${data}"]\nnever = ["${data}/never", "${data}/lone never"]\nexclude = ["private/", "*.key", "${data}/anchored/only"]`,
      });
      const { status, last, stdout, stderr } = await world.backup();
      assert.equal(status, 0, stdout + stderr);
      assert.equal(last.outcome, 'full');
      const tree = join(world.tree(last.snapshot ?? ''), data);
      for (const name of IN_SCOPE) assert.ok(readFileSync(join(tree, name), 'utf8').includes(mark(name)));
      assert.deepEqual(readdirSync(join(tree, 'folder')).sort(), ['inner']);
      assert.ok(
        !readdirSync(tree).some(name => ['private', 'never', 'lone never', 'top.key'].includes(name)),
      );
    });
    it('docs/security.md lists what was tried', t => {
      if (OTHER_RSYNC) return t.skip('inside another suite: the table is of this machine');
      assert.equal(done.size, CHOSEN.length);
      const rows = ATTACKS.map(each => `| ${each.what} | ${each.ends} |`);
      assertDocumented('hostile host', ['| tried | result |', '|---|---|', ...rows, ''].join('\n'));
    });
  });
});
