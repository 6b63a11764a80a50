/**
 * How fast the link to a backup host is, and the decision to compress. A probe measures the link (wire/probe.ts). The result is valid
 * for a week, or until this machine is in another network (link-record.ts).
 */
import { randomBytes } from 'node:crypto';
import { abortable } from '../os/async.ts';
import { monotonicMs, now, sleep } from '../os/clock.ts';
import { ownNetworks } from '../os/network.ts';
import type { DisposableHolder } from '../os/runfolder.ts';
import { BLOCK_LIMIT, blockLine } from '../wire/probe.ts';
import type { CallOptions } from '../wire/ssh.ts';
import { overSsh, placeCall } from './call.ts';
import { type Compression, type CompressMode, decideCompression } from './compression.ts';
import { isCurrent, noteLink, readLink } from './link-record.ts';
import { LEAST_MS, measureProcessor } from './processor.ts';

/** A host that does not answer the first block within this time is not measured. */
const ANSWER_MS = 30_000;
/** The sizes of the blocks, until one of them takes long enough for a good measurement. */
const SIZES = [128 * 1024, 1024 * 1024, BLOCK_LIMIT];
const LONG_ENOUGH_MS = 100;
/** A block that takes this long is not sent a second time. */
const PLENTY_MS = 300;
/** A block that takes longer counts as this long. */
const MOST_MS = 20_000;

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
