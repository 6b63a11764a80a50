/**
 * Several hostile clients of one host that attack at the same time, each under its own name, and the conditions that must hold after
 * every attack.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { decodeEvent, type OutcomeEvent } from '../../src/wire/events.ts';
import { IN_CLEAN_MACHINE } from './checkout.ts';
import { fairClock } from './fair-time.ts';
import {
  type Attack,
  DIALECTS,
  type Entry,
  FILE,
  FOLDER,
  HostileClient,
  lastOutcome,
  type Sender,
} from './hostile-client.ts';
import { IS_LONG, some } from './long.ts';
import { diffManifests, type Manifest, manifest } from './manifest.ts';
import { lastLine, NEEDS_ROOT, until, World } from './world.ts';

/** The attackers' names, one for each simultaneous attack. The checks cost honest runs of each: in `make test` there is one. */
const NAMES = some(['acorn', 'beech', 'cedar'], 3);
/** From the call to its end, on a quiet machine. */
const SOON_MS = 20_000;
/** Stands in the other client's files, and nowhere else. */
const SECRET = `the other client's secret ${randomBytes(8).toString('hex')}`;
/** A name that attacks give what they try to put elsewhere. */
export const MARK = `hostile-${randomBytes(4).toString('hex')}`;
/** Clears the screen, sets the title, reverses the line, begins another line. */
export const NASTY = '\x1b[2J\x1b]0;owned\x07\u202e\u009b31m\r\nforged: line';
/** Characters that must not be in any output or log. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: it searches for them
export const CONTROLS = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f]|\p{Cf}|\p{Zl}|\p{Zp}/u;

export const TOP: Entry = { name: '.', mode: FOLDER };
export const A_FILE: Entry = { name: 'a', mode: FILE };

/** One attack, its outcome (a code, "full" or "incomplete"), and the text in the host's journal. */
export interface Row extends Attack {
  what: string;
  ends: string;
  says?: RegExp | undefined;
}

/** An attack by a list; whatever is asked for after it is served honestly. */
export function lists(what: string, entries: (Entry | Buffer)[], ends: string, says?: RegExp): Row {
  return plays(what, listing(entries), ends, says);
}

export function plays(what: string, play: Attack['play'], ends: string, says?: RegExp): Row {
  return { what, play, ends, says };
}

/** The same attacks, said as another version of rsync says it. */
export function spoken(version: keyof typeof DIALECTS, all: Row[]): Row[] {
  return all.map(row => ({ ...row, what: `${row.what}, as of ${version}`, dialect: DIALECTS[version] }));
}

/** An honest sender with that list. */
export function listing(entries: (Entry | Buffer)[]): Attack['play'] {
  return async sender => {
    await sender.begin();
    await sender.list(entries);
    await sender.serve();
  };
}

/** An attack on the stream after the greeting and a list of one file. */
export function afterList(play: (sender: Sender) => Promise<void>, file = A_FILE): Attack['play'] {
  return async sender => {
    await sender.begin();
    await sender.list([TOP, file]);
    await play(sender);
  };
}

export async function forever(step: () => Promise<void>): Promise<never> {
  for (;;) await step();
}

/** The result of a call for its client. */
export interface Seen {
  stdout: string;
  stderr: string;
  /** The bytes that the session of the call back received. */
  heard?: Buffer;
  outcome?: OutcomeEvent | undefined;
}

/** One attacker. */
export interface Lane {
  name: string;
  client: HostileClient;
  /** Its folder in the store, which has an older snapshot. */
  shelf: string;
  /** For an honest run. */
  toml: string;
}

/** The attackers, the host, and a client that has nothing to do with them. */
export class Lanes {
  readonly world: World;
  readonly all: Lane[] = [];
  readonly #free: Lane[] = [];
  /** The other client's: its snapshot, and the file with the secret in it. */
  otherFile = '';
  /** Processes that may run during the checks. */
  readonly others = new Set<number>();

  private constructor(world: World) {
    this.world = world;
  }

  static async make(): Promise<Lanes> {
    const world = await World.make({ launcher: true });
    const made = new Lanes(world);
    writeFileSync(join(world.data, 'kept'), 'what the client has');
    for (const name of NAMES) made.all.push(await made.makeLane(name));
    made.#free.push(...made.all);
    const secret = join(world.data, 'secret');
    writeFileSync(secret, SECRET);
    const { shelf } = await made.makeLane('other');
    rmSync(secret);
    made.otherFile = `${readdirSync(join(shelf, 'snapshots'))[0]}/tree${secret}`;
    return made;
  }

  /** A client with a key, a config and, unless `isNew`, an older snapshot. */
  async makeLane(name: string, isNew = false): Promise<Lane> {
    const { world } = this;
    const client = await HostileClient.make(world, name);
    const toml = join(world.client.home, `${name}.toml`);
    const text = readFileSync(world.clientToml, 'utf8')
      .replace(/^name = .*$/m, `name = "${name}"`)
      .replace(/^state = .*$/m, `state = "${world.client.home}/state ${name}"`)
      .replace(/^target = /m, `identity = "${client.identity}"\n$&`);
    world.write(world.client, toml, text);
    const lane = { name, client, shelf: join(world.store, 'clients', name), toml };
    if (!isNew) await this.assertHonest(lane);
    return lane;
  }

  /** A backup as it should be. */
  async assertHonest(lane: Lane): Promise<void> {
    const { world } = this;
    const result = await world.run(world.client, ['backup', '--json', '--config', lane.toml]);
    await world.settled();
    const last = lastLine(result);
    assert.equal(last.outcome, 'full', result.stdout + result.stderr);
    const kept = join(lane.shelf, 'snapshots', last.snapshot ?? '', 'tree', world.data, 'kept');
    assert.equal(readFileSync(kept, 'utf8'), 'what the client has');
  }

  journal(lane: Lane): Record<string, unknown>[] {
    const lines = readFileSync(join(lane.shelf, 'journal.jsonl'), 'utf8').trim().split('\n');
    return lines.map(line => JSON.parse(line) as Record<string, unknown>);
  }

  /** An attack on a lane that is free: it ends soon, with one line; and all that is said and written down is plain. */
  async attack(act: (lane: Lane) => Promise<Seen>, ends: string, says: RegExp | undefined): Promise<void> {
    const lane = this.#free.pop();
    assert.ok(lane, 'more attacks at once than lanes');
    try {
      const before = this.journal(lane).length;
      const clock = fairClock();
      const seen = await act(lane);
      const tookMs = clock();
      this.assertSeen(seen, this.journal(lane).slice(before), ends, says);
      assert.ok(tookMs < SOON_MS, `${Math.round(tookMs)} ms`);
      assert.doesNotMatch(readFileSync(join(lane.shelf, 'journal.jsonl'), 'utf8'), CONTROLS);
    } finally {
      this.#free.push(lane);
    }
  }

  /** @param lines what the journal got meanwhile */
  assertSeen(seen: Seen, lines: Record<string, unknown>[], ends: string, says: RegExp | undefined): void {
    const { stdout, stderr, heard } = seen;
    const told = lines.filter(each => ['run', 'refused', 'queued'].includes(String(each.event)));
    assert.equal(told.length, 1, 'one line');
    const reason = String(told[0]?.reason ?? '');
    const outcome = lastOutcome(stderr);
    assert.equal(outcome?.code ?? outcome?.outcome, ends, `${stderr}\n${reason}`);
    if (says) assert.match(reason, says);
    assert.equal(stdout, '');
    for (const line of stderr.split('\n').slice(0, -1)) assert.ok('value' in decodeEvent(line), line);
    for (const secret of [SECRET, this.world.store, this.world.hostToml])
      assert.ok(!heard?.includes(secret) && !stderr.includes(secret), `it got "${secret}"`);
  }

  /** All that the host's account has. */
  read(): Manifest {
    // Links between snapshots are what runs make of unchanged files.
    return manifest(this.world.host.home, { without: ['link'] });
  }

  /** Checks the conditions that must hold after any attack. @param before the host before it */
  async assertUnharmed(before: Manifest): Promise<void> {
    const { world } = this;
    const left = (): string[] =>
      world.leftovers().filter(each => !this.others.has(Number(/^process (\d+):/.exec(each)?.[1])));
    await until('nothing runs', () => left().length === 0, 15_000);
    const now = this.read();
    assert.deepEqual(
      diffManifests(before, now).filter(line => !OWN.test(line)),
      [],
    );
    for (const [path, { type, mode }] of now) {
      assert.ok(type === 'file' || type === 'folder', `${path}: a ${type}`);
      assert.equal(Number.parseInt(mode ?? '', 8) & 0o7000, 0, `${path}: ${mode}`);
    }
    for (const folder of [
      '/',
      '/tmp',
      world.base,
      world.host.home,
      world.store,
      join(world.store, 'clients'),
    ])
      assert.deepEqual(
        readdirSync(folder).filter(name => name.includes(MARK)),
        [],
      );
    for (const { shelf } of this.all)
      assert.equal(spawnSync('grep', ['-rqaF', SECRET, shelf]).status, 1, 'a secret in another tree');
    await Promise.all(this.all.map(lane => this.assertHonest(lane)));
    const listed = await world.run(world.host, ['list', '--config', world.hostToml]);
    assert.equal(listed.status, 0, listed.stderr);
    assert.doesNotMatch(listed.stdout + listed.stderr, CONTROLS);
  }
}

/**
 * The paths that a client's own runs may change on the host: the record of used stores, its arriving trees, its journal, the queue,
 * and its list of snapshots. An unusual run pins an older snapshot with a file beside its tree, which changes its folder's time.
 */
const OWN =
  /^(?:\.local\/state\/dialback(?:: mtimeNs|\/stores\.json: )|the store\/turns(?:: mtimeNs|\/(?:\d+|lock|queue\.json)\b)|the store\/clients\/\w+\/(?:arriving|trash|lock|journal\.jsonl|index\.sqlite|manifest\.lock|ledger\.json)\b|the store\/clients\/\w+(?:\/snapshots(?:\/[^/:]+)?)?: mtimeNs|the store\/clients\/\w+\/snapshots\/.*: entry: none)/;

/** A suite of attacks. @param body gets the lanes, which are there once its tests run */
export function hostileSuite(title: string, body: (lanes: () => Lanes) => void): void {
  describe(title, { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
    let made: Lanes | undefined;
    const lanes = (): Lanes => made ?? assert.fail('too early');
    before(async () => {
      made = await Lanes.make();
    });
    after(async () => {
      await made?.world.dispose();
    });
    body(lanes);
  });
}

/** One group for each title. In `make test`, with a part of the attacks, one group for all: the checks take longer than the attacks. */
export function groups(lanes: () => Lanes, all: Record<string, () => void>): void {
  if (IS_LONG) for (const [title, body] of Object.entries(all)) group(title, lanes, body);
  else
    group(Object.keys(all).join(', '), lanes, () => {
      for (const body of Object.values(all)) body();
    });
}

/** A group of simultaneous attacks. It checks the host when all have ended. */
export function group(title: string, lanes: () => Lanes, body: () => void): void {
  describe(title, { concurrency: NAMES.length }, () => {
    let home: Manifest;
    before(() => {
      home = lanes().read();
    });
    after(async () => {
      await lanes().assertUnharmed(home);
    });
    body();
  });
}

/** The same for attacks that play rsync's sender. */
export function rows(title: string, lanes: () => Lanes, all: Row[]): void {
  group(title, lanes, () => tests(lanes, all));
}

function tests(lanes: () => Lanes, all: Row[]): void {
  for (const row of all)
    it(row.what, async () => {
      await lanes().attack(lane => lane.client.attack(row), row.ends, row.says);
    });
}

/** Attacks that are alike, of which `make test` has each nth. */
export interface Kind {
  title: string;
  all: Row[];
  nth: number;
}

/** A group for each kind. */
export function kinds(lanes: () => Lanes, all: Kind[]): void {
  const bodies = all.map(kind => [kind.title, () => tests(lanes, some(kind.all, kind.nth))]);
  groups(lanes, Object.fromEntries(bodies));
}
