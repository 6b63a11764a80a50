/** Whether the clocks of the client and its host agree. */
import { snapshotTime } from '../wire/text.ts';
import { type Finding, Topic } from './finding.ts';

const CLOCK = new Topic(
  'client.clock',
  "the host's clock names snapshots and decides how long they are kept; this machine's clock dates the files",
);
const SKEW_MS = 60_000;

/** The difference of two clocks, and the time at which it was measured. */
interface Skew {
  /** How far the host's clock is ahead; below zero: behind. */
  skewMs: number;
  /** By this machine's clock, ISO 8601. */
  at: string;
}

/**
 * Computes the difference of the clocks from the last run that made a snapshot. A snapshot's name is the second in which the host began
 * it: after the client's run started, and before the client let the host in. A name between these two times shows no
 * difference.
 * @param journal of the client, the oldest entry first
 * @param remote its label
 * @returns undefined if the journal has no such run
 */
export function measureSkew(journal: readonly Record<string, unknown>[], remote: string): Skew | undefined {
  const own = journal.filter(line => line.remote === remote);
  const end = own.findLastIndex(line => line.event === 'finished' && typeof line.snapshot === 'string');
  const before = own.slice(0, Math.max(0, end));
  const started = before.findLastIndex(line => line.event === 'started');
  const granted = before.findLastIndex(line => line.event === 'granted');
  const host = snapshotTime(String(own[end]?.snapshot))?.getTime();
  if (host === undefined || started < 0 || granted < started) return undefined;
  const [from = Number.NaN, to = Number.NaN] = [started, granted].map(index =>
    Date.parse(String(before[index]?.time)),
  );
  if (!(from <= to)) return undefined; // this machine's clock was set in between
  const skewMs = host > to ? host - to : host + 1000 < from ? host + 1000 - from : 0;
  return { skewMs, at: new Date(from).toISOString() };
}

/** @param label the remote's name */
export function checkClock(label: string, skew: Skew | undefined): Finding {
  if (!skew)
    return CLOCK.unknown(
      `the journal has no backup to "${label}" to compare the clocks by`,
      'dialback backup',
    );
  const seconds = Math.round(Math.abs(skew.skewMs) / 1000);
  const when = `at the backup of ${skew.at}`;
  if (Math.abs(skew.skewMs) < SKEW_MS)
    return CLOCK.ok(`the clocks of this machine and of "${label}" agreed to the minute, ${when}`);
  return CLOCK.warning(
    `the clock of "${label}" was ${seconds} s ${skew.skewMs > 0 ? 'ahead of' : 'behind'} this one, ${when}`,
    // timedatectl skips a masked service, and fails if it finds no other one.
    'on the machine whose clock is wrong, as root: systemctl unmask systemd-timesyncd && timedatectl set-ntp true; then dialback backup',
  );
}
