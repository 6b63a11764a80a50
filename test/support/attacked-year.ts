/**
 * A year in which one client requests again and again, with trees that are unlike each other. A weak host would remove snapshots
 * that it should keep. attacked-year.test.ts requests every half hour, attacked-year.long.test.ts every minute.
 */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import {
  checkChange,
  choosePin,
  expirePins,
  noteChange,
  notePin,
  pickBaseline,
} from '../../src/host/anomaly.ts';
import { type Change, newLedger } from '../../src/host/ledger.ts';
import {
  type Candidate,
  candidateOf,
  decideRetention,
  type Policy,
  UNUSUAL,
} from '../../src/store/retention.ts';
import { snapshotName, snapshotTime } from '../../src/wire/text.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const T0 = Date.UTC(2026, 0, 1, 1, 30);
const all = (share: number): Change => ({ fresh: share, lost: share, bytes: share });

/** The content of a client's machine at a moment: a kind of tree, and the number of its changes. */
interface Tree {
  kind: string;
  step: number;
}

/** The difference between two trees: honest ones differ by a day's changes, others by the attack's. */
function difference(tree: Tree, from: Tree): Change {
  if (tree.kind !== from.kind) return tree.kind === 'tiny' ? { fresh: 0, lost: 0.999, bytes: 0 } : all(1);
  const each: Record<string, number> = { honest: 0.02, random: 1, slow: 0.2 };
  return all(Math.min(1, Math.abs(tree.step - from.step) * (each[tree.kind] ?? 0)));
}

interface Stored {
  name: string;
  tree: Tree;
  record: { state: 'full' | 'incomplete'; flags: string[] };
  pinned: string | undefined;
}

/** One client on a host, as grab and prune would do it, and with a disk that is always full. */
export class Host {
  stored: Stored[] = [];
  /** The newest snapshot, and the newest usual one. Only these can be a baseline, so that a year takes seconds. */
  newest: Stored[] = [];
  readonly ledger = newLedger();
  readonly policy: Policy;
  mostPins = 0;

  constructor(policy: Policy) {
    this.policy = policy;
  }

  request(time: number, tree: Tree, state: 'full' | 'incomplete' = 'full'): void {
    const now = new Date(time);
    const yardstick = pickBaseline(this.newest, now);
    const flags: string[] = [];
    if (yardstick) {
      const change = difference(tree, yardstick.tree);
      const judged = checkChange(this.ledger, change, now);
      if (judged.isUnusual) {
        flags.push(UNUSUAL);
        // Most runs of an attack pin nothing.
        if (this.ledger.pins.filter(each => each.at > time - 30 * DAY).length < 2)
          this.pin(judged.began, now);
      } else noteChange(this.ledger, change, now);
    }
    const fresh: Stored = { name: snapshotName(now), tree, record: { state, flags }, pinned: undefined };
    this.stored.push(fresh);
    const usual = flags.length === 0 ? fresh : this.newest.find(each => each.record.flags.length === 0);
    this.newest = usual === undefined || usual === fresh ? [fresh] : [usual, fresh];
  }

  pin(began: number, now: Date): void {
    const name = choosePin(this.ledger, this.stored.map(candidateOf), began, now);
    const good = this.stored.find(each => each.name === name);
    if (!good) return;
    good.pinned = 'by itself';
    notePin(this.ledger, good.name, now);
  }

  /** Prunes, once a day. @returns the snapshots that remain */
  prune(time: number): Set<string> {
    const now = new Date(time);
    const lapsed = new Set(expirePins(this.ledger, now));
    for (const each of this.stored) if (lapsed.has(each.name)) each.pinned = undefined;
    this.mostPins = Math.max(this.mostPins, this.ledger.pins.length);
    const candidates: Candidate[] = this.stored.map(candidateOf);
    const going = new Set(
      decideRetention(candidates, this.policy, now)
        .filter(each => each.mayGoAtLowWater)
        .map(each => each.name),
    );
    this.stored = this.stored.filter(each => !going.has(each.name));
    return new Set(this.stored.map(each => each.name));
  }
}

/** The trees that are requested after the break-in, by the number of the request. */
export type Attack = (count: number) => { tree: Tree; state?: 'full' | 'incomplete' };

export const RANDOM: Attack = count => ({ tree: { kind: 'random', step: count } });
export const IN_TURN: Attack = count => ({ tree: { kind: count % 2 ? 'huge' : 'tiny', step: 0 } });
/** Attacks on the host's decision about changes. */
export const ATTACKS: [what: string, attack: Attack][] = [
  ['random content', RANDOM],
  ['tiny and huge trees in turn', IN_TURN],
  ['tiny and huge trees, each twice', count => IN_TURN(count >> 1)],
  ['incomplete runs', count => ({ ...RANDOM(count), state: 'incomplete' })],
];

export const NIGHTS_BEFORE = 150;
export const rules = (rest: Partial<Policy>): Policy => ({
  ...{ last: 0, hourly: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0 },
  ...{ minKeep: 3, minAgeMs: DAY, givesRoom: true, zone: 'UTC' },
  ...rest,
});
export const EACH_RULE = rules({ last: 3, hourly: 24, daily: 7, weekly: 5, monthly: 12, yearly: 3 });

/**
 * A year from the break-in on, with the attack and without: the machine's own nightly backups go on in both. The break-in
 * is at noon of 31 May 2026, a Sunday and the last of its month: the backup of that night stands for all three.
 * @returns the snapshots from before the break-in that are removed with the attack, and kept without it
 */
export function dropped(
  policy: Policy,
  attack: Attack,
  stepMs = MINUTE,
  days = 365,
): { lost: string[]; host: Host } {
  const [quiet, host] = [new Host(policy), new Host(policy)];
  const lost = new Set<string>();
  const breakIn = T0 + NIGHTS_BEFORE * DAY + 10.5 * HOUR;
  assert.equal(new Date(breakIn).toISOString(), '2026-05-31T12:00:00.000Z');
  for (let night = 0; night <= NIGHTS_BEFORE + days; night += 1) {
    const time = T0 + night * DAY;
    for (const each of [quiet, host]) each.request(time, { kind: 'honest', step: night });
    const left = quiet.prune(time + 3 * HOUR);
    const still = host.prune(time + 3 * HOUR);
    for (const name of left)
      if ((snapshotTime(name)?.getTime() ?? 0) < breakIn && !still.has(name)) lost.add(name);
    if (night < NIGHTS_BEFORE) continue;
    const from = night === NIGHTS_BEFORE ? breakIn : time + 1000;
    for (let at = from; at < time + DAY - 1000; at += stepMs) {
      const { tree, state } = attack(Math.round((at - breakIn) / stepMs));
      host.request(at, tree, state);
    }
  }
  return { lost: [...lost], host };
}

/** One test for each attack, at each step of time for a year. */
export function attackedYear(attacks: typeof ATTACKS, stepMs: number): void {
  for (const [what, attack] of attacks)
    it(`makes the host drop nothing that the policy would keep: ${what}`, () => {
      const { lost, host } = dropped(EACH_RULE, attack, stepMs);
      assert.deepEqual(lost, []);
      assert.ok(host.mostPins >= 1 && host.mostPins <= 14, `${host.mostPins} pins`);
      // The last two days, what the rules want twice (full and not), and the pins.
      assert.ok(host.stored.length < 2 * 1440 + 2 * 54 + 14, `${host.stored.length} snapshots`);
    });
}
