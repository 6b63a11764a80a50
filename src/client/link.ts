/**
 * How fast the link to a backup host is, and how fast this processor compresses. A probe measures it (wire/probe.ts). The result is
 * kept in the state folder for a week, or until this machine is in another network.
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

/** The recorded measurement of one remote. */
interface Link {
  /** The time of the measurement, in milliseconds since 1970. */
  at: number;
  /** The networks of this machine at that time. */
  networks: string[];
  /** Undefined where the host does not support probes. */
  rates?: Rates;
  /** The decision after it. */
  compress: boolean;
}

/** @returns the record, of any age; undefined where there is none */
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

/** Whether a record is still valid. @param nowMs a time before `at` means that the clock was wrong */
export function isCurrent(link: Link, nowMs: number, networks: string[]): boolean {
  const ageMs = nowMs - link.at;
  return ageMs >= 0 && ageMs < VALID_MS && JSON.stringify(link.networks) === JSON.stringify(networks);
}

/** Writes the record; undefined removes it. @throws Fault where it cannot be written */
export async function noteLink(state: string, remote: string, link: Link | undefined): Promise<void> {
  await writeState(pathIn(state), remote, link);
}

/** A host that does not answer the first block within this time is not measured. */
const ANSWER_MS = 30_000;
/** The sizes of the blocks, until one of them takes long enough for a good measurement. */
const SIZES = [128 * 1024, 1024 * 1024, BLOCK_LIMIT];
const LONG_ENOUGH_MS = 100;
/** A block that takes this long is not sent a second time. */
const PLENTY_MS = 300;
/** A block that takes longer counts as this long. */
const MOST_MS = 20_000;
/** The time of a block that takes no time on this clock. */
const LEAST_MS = 0.01;

/**
 * Calls the host and measures the link.
 * @param options `command` asks for a probe
 * @param limits `isBrief`: sends only the smallest block, where the `bwlimit` of the config decides anyway
 * @returns bytes a second; `unknown` where the host is too old for a probe; `unanswered` where it did not answer
 * @throws Fault where the host cannot be called
 */
async function measureLink(
  held: DisposableHolder,
  options: CallOptions,
  { interrupt, isBrief }: { interrupt: AbortSignal; isBrief: boolean },
): Promise<number | 'unknown' | 'unanswered'> {
  const noise = randomBytes(BLOCK_LIMIT); // nothing between the machines can compress it
  let arrived = Promise.withResolvers<number>();
  const call = await placeCall(held, await overSsh(held, options), Buffer.from(`${blockLine(1)}x`), event => {
    if (event.event === 'arrived') arrived.resolve(event.bytes);
  });
  try {
    const isOver = call.outcome.then(({ code }) => (code === 'request' ? 'unknown' : 'unanswered'));
    isOver.catch(() => {}); // It may fail when it is not awaited any more.
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
    // The program on the host starts during the first block, so that block is not measured.
    const greeting = await wait(ANSWER_MS);
    if (typeof greeting === 'string') return greeting;
    /** @returns the milliseconds that a block takes */
    const send = async (bytes: number): Promise<number> => {
      arrived = Promise.withResolvers();
      const from = monotonicMs();
      call.send(blockLine(bytes));
      call.send(noise.subarray(0, bytes));
      const answer = await wait(MOST_MS);
      // A wrong answer counts as none.
      return answer === bytes ? Math.max(monotonicMs() - from, LEAST_MS) : MOST_MS;
    };
    let rate = 0; // the rate of the last size, because a token bucket can let earlier blocks through at once
    for (const size of isBrief ? SIZES.slice(0, 1) : SIZES) {
      const first = await send(size);
      rate = size / first;
      if (first < LONG_ENOUGH_MS) continue;
      if (first >= PLENTY_MS) break;
      // A busy moment must not count as a slow link, so the better of two counts.
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
/** rsync's default level for zstd (its compat.c). */
const LEVEL = 3;
const TIMES = 3;

/** Measures how many bytes a second one processor compresses as rsync does, with content that becomes half as large. */
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
 * Decides whether one run compresses. With `auto` it measures first, unless there is a valid record.
 * @param facts `options`: the options of a call that asks for a probe. `warn` receives an error that is not a reason to fail
 * @throws Fault where the host cannot be called
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
    warn(error); // The next run measures again.
  }
  return found;
}
