/**
 * How fast the way to a backup host is, and how fast this processor compresses: measured by a probe (wire/probe.ts), and on
 * record in the state folder until it is a week old, or this machine is in another network.
 */
import { randomBytes } from 'node:crypto';
import { constants, zstdCompressSync } from 'node:zlib';
import { abortable } from '../os/async.ts';
import { monotonicMs, now, sleep } from '../os/clock.ts';
import { ownNetworks } from '../os/network.ts';
import type { DisposableHolder } from '../os/runfolder.ts';
import { BLOCK_LIMIT, blockLine } from '../wire/probe.ts';
import type { CallOptions } from '../wire/ssh.ts';
import { overSsh, placeCall } from './call.ts';
import { type Compression, type CompressMode, decideCompression, type Rates } from './compression.ts';
import { readState, writeState } from './state-file.ts';

const pathIn = (state: string): string => `${state}/links.json`;
const VALID_MS = 7 * 86_400_000;

/** What is on record of one remote. */
export interface Link {
  /** When it was measured. */
  at: number;
  /** Where this machine was then. */
  networks: string[];
  /** Undefined: the host does not know what a probe is. */
  rates?: Rates;
  /** What was decided by it. */
  compress: boolean;
}

/** What is on record, or undefined; however old. */
function readLink(state: string, remote: string): Link | undefined {
  const found = readState(pathIn(state), remote);
  return isLink(found) ? found : undefined;
}

function isLink(value: unknown): value is Link {
  if (typeof value !== 'object' || value === null) return false;
  const { at, networks, rates, compress } = value as Record<string, unknown>;
  if (!Number.isFinite(at) || !Array.isArray(networks) || typeof compress !== 'boolean') return false;
  if (rates === undefined) return true;
  if (typeof rates !== 'object' || rates === null) return false;
  const { link, processor } = rates as Record<string, unknown>;
  return [link, processor].every(each => typeof each === 'number' && each > 0);
}

/** Whether what is on record still tells how it is. @param nowMs a time before `at` is a clock that was wrong */
export function isCurrent(link: Link, nowMs: number, networks: string[]): boolean {
  const ageMs = nowMs - link.at;
  return ageMs >= 0 && ageMs < VALID_MS && JSON.stringify(link.networks) === JSON.stringify(networks);
}

/** Puts it on record; undefined takes away what is there. */
export async function noteLink(state: string, remote: string, link: Link | undefined): Promise<void> {
  await writeState(pathIn(state), remote, link);
}

/** A host that does not answer the first word of a probe within this gets none. */
const ANSWER_MS = 30_000;
/** The sizes of what is sent, until one of them takes long enough to be measured well. */
const SIZES = [128 * 1024, 1024 * 1024, BLOCK_LIMIT];
const LONG_ENOUGH_MS = 100;
/** A block that takes this long is not sent again. */
const PLENTY_MS = 300;
/** A block that takes longer counts as if it had come then. */
const MOST_MS = 20_000;
/** One that takes no time at all on this clock. */
const LEAST_MS = 0.01;

/**
 * Calls the host and measures.
 * @param options `command` asks for a probe
 * @param isBrief only the least is sent: where a limit of the config decides whatever the rate
 * @returns bytes a second; or why there is no saying: the host is too old for it, or it did not answer
 * @throws Fault where it cannot be called at all, which no run could then
 */
async function measureLink(
  held: DisposableHolder,
  options: CallOptions,
  { interrupt, isBrief }: { interrupt: AbortSignal; isBrief: boolean },
): Promise<number | 'unknown' | 'unanswered'> {
  const noise = randomBytes(BLOCK_LIMIT); // nothing on the way makes it smaller
  let arrived = Promise.withResolvers<number>();
  const call = await placeCall(held, await overSsh(held, options), Buffer.from(`${blockLine(1)}x`), event => {
    if (event.event === 'arrived') arrived.resolve(event.bytes);
  });
  try {
    const isOver = call.outcome.then(({ code }) => (code === 'request' ? 'unknown' : 'unanswered'));
    isOver.catch(() => {}); // where it is not waited for any more
    const wait = async (ms: number): Promise<number | 'unknown' | 'unanswered'> => {
      const late = new AbortController();
      const lateness = sleep(ms, late.signal).then(() => 'unanswered' as const);
      lateness.catch(() => {});
      try {
        return await abortable(interrupt, Promise.race([arrived.promise, isOver, lateness]));
      } finally {
        late.abort();
      }
    };
    // The host's program starts meanwhile: that is no part of the link.
    const greeting = await wait(ANSWER_MS);
    if (typeof greeting === 'string') return greeting;
    /** Milliseconds that a block takes. */
    const send = async (bytes: number): Promise<number> => {
      arrived = Promise.withResolvers();
      const from = monotonicMs();
      call.send(blockLine(bytes));
      call.send(noise.subarray(0, bytes));
      const answer = await wait(MOST_MS);
      // A host that answers something else is as good as one that does not.
      return answer === bytes ? Math.max(monotonicMs() - from, LEAST_MS) : MOST_MS;
    };
    let rate = 0; // of the last size: what goes before can have been let through at once (token buckets)
    for (const size of isBrief ? SIZES.slice(0, 1) : SIZES) {
      const first = await send(size);
      rate = size / first;
      if (first < LONG_ENOUGH_MS) continue;
      if (first >= PLENTY_MS) break;
      // A moment in which somebody was busy is no slow link: the better of two.
      const second = await send(size);
      rate = Math.max(rate, size / second);
      if (second >= LONG_ENOUGH_MS) break;
    }
    return rate * 1000;
  } finally {
    await call.hangUp(interrupt);
  }
}

const SAMPLE_BYTES = 2 * 1024 * 1024;
const SAMPLE_RUN = 64;
/** rsync's level for zstd where none is asked for (its compat.c). */
const LEVEL = 3;
const TIMES = 3;

/** Bytes a second that one processor compresses as rsync does, of content that becomes half as large. */
export function measureProcessor(): number {
  const sample = randomBytes(SAMPLE_BYTES);
  for (let at = 0; at < SAMPLE_BYTES; at += 2 * SAMPLE_RUN) sample.fill(sample[at] ?? 0, at, at + SAMPLE_RUN);
  const params = { [constants.ZSTD_c_compressionLevel]: LEVEL };
  let bestMs = Number.POSITIVE_INFINITY;
  for (let times = 0; times < TIMES; times += 1) {
    const from = monotonicMs();
    zstdCompressSync(sample, { params });
    bestMs = Math.min(bestMs, Math.max(monotonicMs() - from, LEAST_MS));
  }
  return (SAMPLE_BYTES / bestMs) * 1000;
}

/**
 * Decides for one run; measures before, where that is to decide and nothing current is on record.
 * @param options of a call that asks for a probe
 * @param warn is told what is no reason to fail
 * @throws Fault as `measureLink`
 */
export async function chooseCompression(facts: {
  state: string;
  remote: string;
  mode: CompressMode;
  /** Whether the rsync here can compress so. */
  hasZstd: boolean;
  /** Bytes a second. */
  bwlimit: number | undefined;
  options: CallOptions;
  interrupt: AbortSignal;
  warn: (error: unknown) => void;
}): Promise<Compression> {
  const { state, remote, mode, hasZstd, bwlimit, warn } = facts;
  const settled = { mode, hasZstd, bwlimit, rates: undefined, was: false };
  if (mode !== 'auto' || !hasZstd) return decideCompression(settled);
  const here = { at: now().getTime(), networks: ownNetworks() };
  const before = readLink(state, remote);
  if (before && isCurrent(before, here.at, here.networks))
    return decideCompression({ ...settled, rates: before.rates, was: before.compress });
  await using held = new AsyncDisposableStack();
  const isBrief = bwlimit !== undefined;
  const link = await measureLink(held, facts.options, { interrupt: facts.interrupt, isBrief });
  if (link === 'unanswered') return decideCompression(settled);
  const rates = link === 'unknown' ? undefined : { link, processor: measureProcessor() };
  const found = decideCompression({ ...settled, rates, was: before?.compress ?? false });
  try {
    await noteLink(state, remote, { ...here, ...(rates ? { rates } : {}), compress: found.compress });
  } catch (error) {
    warn(error); // the next run measures again
  }
  return found;
}
