/** The command line: argv in, one case a verb out; and `help`. */
import { resolve } from 'node:path';
import minimist from 'minimist';
import { EXIT, EXIT_MEANINGS, type ExitName, Fault } from '../fault.ts';
import { hooksHelp } from '../shared/hooks.ts';
import { parseDuration } from '../wire/quantity.ts';
import { escapeText } from '../wire/text.ts';

/** What was asked for. */
export type Request =
  | {
      verb: 'backup';
      config: string | undefined;
      state: string | undefined;
      remote: string | undefined;
      dryRun: boolean;
      json: boolean;
      volume: 'quiet' | 'normal' | 'verbose';
    }
  | {
      verb: 'init';
      name: string | undefined;
      target: string | undefined;
      hostKey: string | undefined;
      /** Undefined: direct, unless something stands in its way. */
      transport: 'direct' | 'channel' | 'local' | undefined;
      config: string | undefined;
    }
  | { verb: 'gate'; run: string }
  | { verb: 'gate-check' }
  | { verb: 'grab'; client: string; config: string; isLocal: boolean }
  | {
      verb: 'enroll';
      name: string;
      /** Undefined with --local: no key is enrolled, and the store serves this machine. */
      keyFile: string | undefined;
      config: string | undefined;
      store: string | undefined;
      replace: boolean;
      authorizedKeys: string | undefined;
    }
  | { verb: 'unenroll'; name: string; config: string | undefined; authorizedKeys: string | undefined }
  | { verb: 'list'; name: string | undefined; config: string | undefined; json: boolean }
  | {
      verb: 'ls';
      client: string;
      snapshot: string;
      paths: string[];
      isRecursive: boolean;
      isItself: boolean;
      config: string | undefined;
      json: boolean;
    }
  | { verb: 'cat'; client: string; snapshot: string; path: string; config: string | undefined }
  | {
      verb: 'diff';
      client: string;
      before: string;
      after: string;
      paths: string[];
      config: string | undefined;
      json: boolean;
    }
  | {
      verb: 'find';
      client: string;
      pattern: string | undefined;
      ignoresCase: boolean;
      config: string | undefined;
      json: boolean;
    }
  | {
      verb: 'verify';
      client: string | undefined;
      snapshot: string | undefined;
      /** Percent. */
      sample: number;
      config: string | undefined;
      json: boolean;
    }
  /** What grab starts when it is done. */
  | { verb: 'manifest'; client: string; config: string }
  | {
      verb: 'restore';
      client: string;
      snapshot: string;
      paths: string[];
      config: string | undefined;
      to: string;
      force: boolean;
      inert: boolean;
      dryRun: boolean;
      json: boolean;
    }
  | { verb: 'status'; name: string | undefined; maxAgeMs: number; config: string | undefined; json: boolean }
  | {
      verb: 'prune';
      client: string | undefined;
      dryRun: boolean;
      isVerbose: boolean;
      config: string | undefined;
      json: boolean;
    }
  | {
      verb: 'remove';
      client: string;
      snapshot: string;
      confirm: string | undefined;
      dryRun: boolean;
      config: string | undefined;
      json: boolean;
    }
  | {
      verb: 'remove-client';
      client: string;
      snapshot: undefined;
      confirm: string | undefined;
      dryRun: boolean;
      config: string | undefined;
      json: boolean;
    }
  | { verb: 'pin'; client: string; snapshot: string; reason: string; config: string | undefined }
  | { verb: 'unpin'; client: string; snapshot: string; config: string | undefined }
  | {
      verb: 'doctor';
      config: string | undefined;
      /** Undefined: whichever is set up here. */
      side: 'client' | 'host' | undefined;
      json: boolean;
    }
  | { verb: 'try'; folder: string | undefined }
  | { verb: 'relay'; idleMs: number }
  /** As the account's login shell. */
  | { verb: 'shell'; words: string[] }
  /** A topic of its own, or the whole list of commands. */
  | { verb: 'help'; topic: Topic | undefined }
  | { verb: 'version' };

/** What `help TOPIC` tells of. */
export const TOPICS = { hooks: hooksHelp } as const;
type Topic = keyof typeof TOPICS;

interface Grammar {
  /** As help prints it. */
  usage: string;
  strings?: string[];
  booleans?: string[];
  alias?: Record<string, string>;
  /** The least and the most positional arguments. */
  takes: [number, number];
  says: string;
}

const GRAMMAR = {
  init: {
    usage:
      'init [--name NAME] [--target TARGET --host-key KEY] [--transport direct|channel|local] [--config F]',
    strings: ['name', 'target', 'host-key', 'transport', 'config'],
    takes: [0, 0],
    says: 'client: make its key; with what `enroll` printed on the host, its config; prints the next command',
  },
  backup: {
    usage: 'backup [--config F] [--state DIR] [--remote NAME] [--dry-run] [--json] [-q|-v]',
    strings: ['config', 'state', 'remote'],
    booleans: ['dry-run', 'json', 'quiet', 'verbose'],
    alias: { q: 'quiet', v: 'verbose' },
    takes: [0, 0],
    says: 'client: have this machine backed up, now; -v a line a phase, -q nothing but failures, --json for programs',
  },
  gate: {
    usage: 'gate --run DIR | --check',
    strings: ['run'],
    booleans: ['check'],
    takes: [0, 0],
    says: 'client: what the one-time sshd is forced to run; --check says what SSH_ORIGINAL_COMMAND would get',
  },
  grab: {
    usage: 'grab --client NAME --config F [--local]',
    strings: ['client', 'config'],
    booleans: ['local'],
    takes: [0, 0],
    says: "host: what sshd is forced to run for a client's key; --local: what `backup` runs for a store on this machine",
  },
  enroll: {
    usage: 'enroll NAME KEYFILE|-|--local [--store DIR] [--config F] [--replace] [--authorized-keys F]',
    strings: ['store', 'config', 'authorized-keys'],
    booleans: ['replace', 'local'],
    takes: [1, 2],
    says: 'host: let the holder of this key (--local: this account) ask for backups of NAME; prints the next command',
  },
  unenroll: {
    usage: 'unenroll NAME [--config F] [--authorized-keys F]',
    strings: ['config', 'authorized-keys'],
    takes: [1, 1],
    says: 'host: take that back; snapshots stay',
  },
  list: {
    usage: 'list [NAME] [--config F] [--json]',
    strings: ['config'],
    booleans: ['json'],
    takes: [0, 1],
    says: 'host: the snapshots of one client, or of all',
  },
  ls: {
    usage: 'ls NAME[@SNAPSHOT] [PATH…] [-R] [-d] [--config F] [--json]',
    strings: ['config'],
    booleans: ['recursive', 'directory', 'json'],
    alias: { R: 'recursive', d: 'directory' },
    takes: [1, 10_000],
    says: 'host: what is in a folder, or all below it (-R), or the folder itself (-d), as it was on the client',
  },
  cat: {
    usage: 'cat NAME[@SNAPSHOT] PATH [--config F]',
    strings: ['config'],
    takes: [2, 2],
    says: "host: a file's content, to standard output",
  },
  diff: {
    usage: 'diff NAME@A B [PATH…] [--config F] [--json]',
    strings: ['config'],
    booleans: ['json'],
    takes: [2, 10_000],
    says: 'host: what differs from snapshot A to B: + added, - removed, M other content, U other attributes, T type',
  },
  find: {
    usage: 'find NAME [PATTERN] [-i] [--config F] [--json]',
    strings: ['config'],
    booleans: ['ignore-case', 'json'],
    alias: { i: 'ignore-case' },
    takes: [1, 2],
    says: 'host: each version of what has a name like PATTERN (*, ?, []), with the snapshots that hold it',
  },
  restore: {
    usage: 'restore NAME[@SNAPSHOT] [PATH…] --to DIR [--config F] [--force] [--inert] [--dry-run] [--json]',
    strings: ['config', 'to'],
    booleans: ['force', 'inert', 'dry-run', 'json'],
    takes: [1, 10_000],
    says: 'host: give files back, below DIR; as root all of them; --inert: no set-id bits, devices, capabilities',
  },
  status: {
    usage: 'status [NAME] [--max-age 36h] [--config F] [--json]',
    strings: ['max-age', 'config'],
    booleans: ['json'],
    takes: [0, 1],
    says: 'host: how old and how large the backups are, and what is not well; for monitoring',
  },
  prune: {
    usage: 'prune [NAME] [--dry-run] [-v] [--config F] [--json]',
    strings: ['config'],
    booleans: ['dry-run', 'verbose', 'json'],
    alias: { v: 'verbose' },
    takes: [0, 1],
    says: 'host: remove what no rule of [retention] keeps; says why each one stays or goes, and what that frees',
  },
  pin: {
    usage: 'pin NAME@SNAPSHOT [--reason TEXT] [--config F]',
    strings: ['reason', 'config'],
    takes: [1, 1],
    says: 'host: keep this snapshot whatever the rules say',
  },
  unpin: {
    usage: 'unpin NAME@SNAPSHOT [--config F]',
    strings: ['config'],
    takes: [1, 1],
    says: 'host: leave it to the rules again',
  },
  remove: {
    usage: 'remove NAME@SNAPSHOT --confirm NAME@SNAPSHOT|--dry-run [--config F] [--json]',
    strings: ['confirm', 'config'],
    booleans: ['dry-run', 'json'],
    takes: [1, 1],
    says: 'host: remove this snapshot, whatever the rules say; not a pinned one, nor the last full one',
  },
  'remove-client': {
    usage: 'remove-client NAME --confirm NAME|--dry-run [--config F] [--json]',
    strings: ['confirm', 'config'],
    booleans: ['dry-run', 'json'],
    takes: [1, 1],
    says: 'host: remove a client that is unenrolled, with all its snapshots, pinned ones too',
  },
  verify: {
    usage: 'verify [NAME[@SNAPSHOT]] [--sample 5%] [--config F] [--json]',
    strings: ['sample', 'config'],
    booleans: ['json'],
    takes: [0, 1],
    says: 'host: read snapshots back, all or a part of the files, and name what is not as it was stored',
  },
  doctor: {
    usage: 'doctor [--client|--host] [--config F] [--json]',
    strings: ['config'],
    booleans: ['client', 'host', 'json'],
    takes: [0, 0],
    says: 'both: look at all that a backup needs, and say what is wrong, why it matters and what mends it',
  },
  try: {
    usage: 'try [DIR]',
    takes: [0, 1],
    says: 'both: a whole backup and restore on this machine, to see it work; leaves nothing behind',
  },
  help: {
    usage: 'help [TOPIC]',
    takes: [0, 1],
    says: 'this text; TOPIC is `hooks`: programs that run before and after a backup',
  },
  version: { usage: 'version', takes: [0, 0], says: "dialback's version" },
} satisfies Record<string, Grammar>;

type Verb = keyof typeof GRAMMAR;

/** A night's run that was missed is told in the morning of the second day. */
const DEFAULT_MAX_AGE = '36h';

/**
 * Reads the command line.
 * @param argv without node and the program
 * @param calledAs argv[0] as the caller gave it: login(1) and sshd put a dash before a login shell's
 * @throws Fault `usage` that names the word
 */
export function parseArguments(argv: string[], calledAs = ''): Request {
  if (argv[0] === '-c' || calledAs.startsWith('-')) return { verb: 'shell', words: argv };
  const [verb, ...rest] = argv;
  if (verb === undefined) throw usage('start', 'no command was given', 'dialback help');
  if (verb === '--help' || verb === '-h') return { verb: 'help', topic: undefined };
  if (verb === '--version') return { verb: 'version' };
  const [one = '', client, other, config] = rest; // as grab writes it
  // internal; rsync appends words of its own
  if (verb === 'relay' && /^[1-9]\d{0,6}$/.test(one)) return { verb, idleMs: 1000 * Number(one) };
  if (verb === 'manifest' && one === '--client' && client && other === '--config' && config)
    return { verb, client, config };
  if (!Object.hasOwn(GRAMMAR, verb)) {
    throw usage(`run "${escapeText(verb, 60)}"`, 'there is no such command', 'dialback help');
  }
  if (rest.includes('--help') || rest.includes('-h')) return { verb: 'help', topic: undefined };
  return readVerb(verb as Verb, rest);
}

function usage(tried: string, found: string, next?: string): Fault {
  return new Fault({ tried, found, exit: 'usage', ...(next ? { next } : {}) });
}

function readVerb(verb: Verb, rest: string[]): Request {
  const grammar: Grammar = GRAMMAR[verb];
  const next = `dialback ${grammar.usage}`;
  const options = parseOptions(verb, grammar, rest, next);
  const { words } = options;
  const [least, most] = grammar.takes;
  if (words.length < least) throw usage(`run "${verb}"`, 'an argument is missing', next);
  if (words.length > most)
    throw usage(`run "${verb}"`, `"${escapeText(words[most] ?? '', 60)}" is one argument too many`, next);
  const text = (name: string): string | undefined => options.strings[name];
  const flag = (name: string): boolean => options.booleans[name] ?? false;
  const need = (name: string): string => {
    const value = text(name);
    if (value === undefined) throw usage(`run "${verb}"`, `--${name} is missing`, next);
    return value;
  };
  // Programs that we start run in `/`: a path is made absolute where it comes in.
  const path = (name: string): string | undefined => {
    const value = text(name);
    return value === undefined ? undefined : resolve(value);
  };
  const config = path('config');
  const [first = '', second = ''] = words;
  switch (verb) {
    case 'backup': {
      if (flag('quiet') && flag('verbose'))
        throw usage('run "backup"', '-q and -v contradict each other', next);
      const volume = flag('quiet') ? 'quiet' : flag('verbose') ? 'verbose' : 'normal';
      return {
        verb,
        config,
        state: path('state'),
        remote: text('remote'),
        dryRun: flag('dry-run'),
        json: flag('json'),
        volume,
      };
    }
    case 'init': {
      const transport = text('transport');
      if (
        transport !== undefined &&
        transport !== 'direct' &&
        transport !== 'channel' &&
        transport !== 'local'
      )
        throw usage(
          'run "init"',
          `--transport is "${escapeText(transport, 60)}", and should be "direct", "channel" or "local"`,
          next,
        );
      return {
        verb,
        name: text('name'),
        target: transport === 'local' ? path('target') : text('target'),
        hostKey: text('host-key'),
        transport,
        config,
      };
    }
    case 'gate':
      if (flag('check') === (text('run') !== undefined))
        throw usage('run "gate"', 'it takes either --run or --check', next);
      return flag('check') ? { verb: 'gate-check' } : { verb, run: need('run') };
    case 'grab':
      return { verb, client: need('client'), config: need('config'), isLocal: flag('local') };
    case 'enroll':
      if (flag('local') === words.length > 1)
        throw usage('run "enroll"', flag('local') ? '--local takes no key' : 'an argument is missing', next);
      if (flag('local') && (flag('replace') || text('authorized-keys') !== undefined))
        throw usage('run "enroll"', 'with --local there is no key to replace, and no authorized_keys', next);
      return {
        verb,
        name: first,
        keyFile: flag('local') ? undefined : second,
        config,
        store: path('store'),
        replace: flag('replace'),
        authorizedKeys: path('authorized-keys'),
      };
    case 'unenroll':
      return { verb, name: first, config, authorizedKeys: path('authorized-keys') };
    case 'list':
      return { verb, name: words[0], config, json: flag('json') };
    case 'ls':
      if (flag('recursive') && flag('directory'))
        throw usage('run "ls"', '-R and -d contradict each other', next);
      return {
        verb,
        ...readTarget(first),
        paths: words.slice(1),
        isRecursive: flag('recursive'),
        isItself: flag('directory'),
        config,
        json: flag('json'),
      };
    case 'cat':
      return { verb, ...readTarget(first), path: second, config };
    case 'diff': {
      const { client, snapshot: before } = readTarget(first);
      if (!first.includes('@')) throw usage('run "diff"', 'the first snapshot is not named', next);
      const [other, after] = second.includes('@') ? splitTarget(second) : [client, second];
      if (other !== client) throw usage('run "diff"', 'the two snapshots are not of the same client', next);
      return { verb, client, before, after, paths: words.slice(2), config, json: flag('json') };
    }
    case 'find':
      if (first.includes('@'))
        throw usage('run "find"', 'it looks through all snapshots, and takes no name of one', next);
      return {
        verb,
        client: first,
        pattern: words[1],
        ignoresCase: flag('ignore-case'),
        config,
        json: flag('json'),
      };
    case 'restore':
      return {
        verb,
        ...readTarget(first),
        paths: words.slice(1),
        config,
        to: resolve(need('to')),
        force: flag('force'),
        inert: flag('inert'),
        dryRun: flag('dry-run'),
        json: flag('json'),
      };
    case 'status': {
      const given = text('max-age') ?? DEFAULT_MAX_AGE;
      const maxAgeMs = parseDuration(given);
      if (maxAgeMs === undefined)
        throw usage(
          'run "status"',
          `--max-age is "${escapeText(given, 60)}", and should be a time such as "36h"`,
          next,
        );
      return { verb, name: words[0], maxAgeMs, config, json: flag('json') };
    }
    case 'prune':
      return {
        verb,
        client: words[0],
        dryRun: flag('dry-run'),
        isVerbose: flag('verbose'),
        config,
        json: flag('json'),
      };
    case 'pin':
    case 'unpin': {
      if (!first.includes('@')) throw usage(`run "${verb}"`, 'it takes one snapshot, by name', next);
      const [client, snapshot] = splitTarget(first);
      const which = { client, snapshot, config };
      return verb === 'pin' ? { verb, ...which, reason: text('reason') ?? 'by hand' } : { verb, ...which };
    }
    case 'remove':
    case 'remove-client': {
      const isOne = verb === 'remove';
      if (first.includes('@') !== isOne)
        throw usage(
          `run "${verb}"`,
          isOne ? 'it takes one snapshot, by name' : 'it takes the name of a client',
          next,
        );
      if (flag('dry-run') && text('confirm') !== undefined)
        throw usage(`run "${verb}"`, '--dry-run and --confirm contradict each other', next);
      const how = { confirm: text('confirm'), dryRun: flag('dry-run'), config, json: flag('json') };
      const [client, snapshot] = splitTarget(first);
      return isOne
        ? { verb: 'remove', client, snapshot, ...how }
        : { verb: 'remove-client', client: first, snapshot: undefined, ...how };
    }
    case 'verify': {
      const [client, ...snapshot] = first.split('@');
      const sample = /^(\d{1,3})%$/.exec(text('sample') ?? '100%')?.[1];
      if (sample === undefined || Number(sample) < 1 || Number(sample) > 100)
        throw usage('run "verify"', '--sample should be a part such as "5%", from 1% to 100%', next);
      return {
        verb,
        client: client === '' ? undefined : client,
        snapshot: snapshot.length > 0 ? snapshot.join('@') : undefined,
        sample: Number(sample),
        config,
        json: flag('json'),
      };
    }
    case 'doctor':
      if (flag('client') && flag('host'))
        throw usage('run "doctor"', '--client and --host contradict each other', next);
      return {
        verb,
        config,
        side: flag('client') ? 'client' : flag('host') ? 'host' : undefined,
        json: flag('json'),
      };
    case 'try':
      return { verb, folder: words[0] === undefined ? undefined : resolve(words[0]) };
    case 'help':
      // A command's name is asked about too: the list has its line.
      if (Object.hasOwn(TOPICS, first)) return { verb, topic: first as Topic };
      if (first === '' || Object.hasOwn(GRAMMAR, first)) return { verb, topic: undefined };
      throw usage(
        'run "help"',
        `"${escapeText(first, 60)}" is neither a topic (${Object.keys(TOPICS).join(', ')}) nor a command`,
        'dialback help',
      );
    case 'version':
      return { verb };
  }
}

/** `NAME@SNAPSHOT`, cut at the first `@`. */
function splitTarget(word: string): [client: string, snapshot: string] {
  const [client = '', ...snapshot] = word.split('@');
  return [client, snapshot.join('@')];
}

/** `NAME[@SNAPSHOT]`: without one the newest full one is meant. */
function readTarget(word: string): { client: string; snapshot: string } {
  const [client, snapshot] = splitTarget(word);
  return { client, snapshot: word.includes('@') ? snapshot : 'latest' };
}

interface Options {
  words: string[];
  strings: Record<string, string>;
  booleans: Record<string, boolean>;
}

function parseOptions(verb: Verb, grammar: Grammar, rest: string[], next: string): Options {
  const strings = grammar.strings ?? [];
  const booleans = grammar.booleans ?? [];
  const aliases = Object.entries(grammar.alias ?? {});
  // What minimist would take: `--no-config` for a config called "false", `--json=x` and `-v5` for flags; and on names that
  // every object has (`--constructor`) it trips.
  const known = new Set([...strings, ...booleans]);
  const isOdd = (word: string): boolean => {
    if (!word.startsWith('--')) return /^-[a-z]+[^a-z]/i.test(word);
    const [name = '', value] = word.slice(2).split('=');
    return !known.has(name) || (value !== undefined && booleans.includes(name));
  };
  const end = rest.indexOf('--');
  const words = end < 0 ? rest : rest.slice(0, end);
  const odd = words.find(isOdd);
  if (odd) throw usage(`run "${verb}"`, `"${escapeText(odd, 60)}" is no option of it`, next);
  const plain = [...words.flatMap(word => plainFlags(word, grammar)), ...rest.slice(words.length)];
  const parsed = minimist(plain, {
    string: [...strings, '_'],
    boolean: booleans,
    alias: Object.fromEntries(aliases.map(([short, long]) => [long, short])),
    unknown: word => {
      if (!word.startsWith('-') || word === '-') return true;
      throw usage(`run "${verb}"`, `"${escapeText(word, 60)}" is no option of it`, next);
    },
  });
  const result: Options = { words: parsed._.map(String), strings: {}, booleans: {} };
  for (const name of strings) {
    const value: unknown = parsed[name];
    if (value === undefined) continue;
    if (Array.isArray(value)) throw usage(`run "${verb}"`, `--${name} was given twice`, next);
    if (value === '') throw usage(`run "${verb}"`, `--${name} needs a value`, next);
    result.strings[name] = String(value);
  }
  for (const name of booleans) result.booleans[name] = parsed[name] === true;
  return result;
}

/** Flags with their value: minimist would take a word `true` or `false` behind one (a path, say) for it, and swallow it. */
function plainFlags(word: string, { booleans = [], alias = {} }: Grammar): string[] {
  const letters = /^-([a-z]+)$/i.exec(word)?.[1]?.split('');
  const names = letters ? letters.map(letter => alias[letter]) : [word.replace(/^--/, '')];
  const isFlag = word.startsWith('-') && names.every(name => name !== undefined && booleans.includes(name));
  return isFlag ? names.map(name => `--${name}=true`) : [word];
}

/** The help text. */
export function helpText(): string {
  const verbs = Object.values(GRAMMAR).map(({ usage: line, says }) => `  dialback ${line}\n      ${says}`);
  const statuses = (Object.keys(EXIT) as ExitName[]).map(
    name => `  ${String(EXIT[name]).padStart(3)}  ${EXIT_MEANINGS[name]}`,
  );
  return [
    'dialback: backups that the client asks for and the host fetches, with nothing standing open',
    '',
    'Commands:',
    ...verbs,
    '',
    'NAME is what a client is called. SNAPSHOT is the time that `list` shows, the beginning of it, or `latest`.',
    '--config F: client.toml or host.toml; else ~/.config/dialback/, else /etc/dialback/.',
    '',
    'Exit statuses:',
    ...statuses,
    'Of `doctor` and `status`, as monitoring plugins have them: 0 all is well, 1 warnings or unknown, 2 critical.',
    '',
  ].join('\n');
}
