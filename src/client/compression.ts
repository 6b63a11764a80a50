/** Whether a run compresses the files that it sends: the decision, from measured rates, with its reason. */

/** `[limits] compress` of client.toml. */
export type CompressMode = 'auto' | 'zstd' | 'no';

/** Rates in bytes a second. */
export interface Rates {
  /** The rate of the connection. */
  link: number;
  /** The rate at which the processor compresses. */
  processor: number;
}

/** The decision for one run. */
export interface Compression {
  compress: boolean;
  /** `set`: the config says so. `no-zstd`: the rsync here cannot. `unmeasured`: the rates are not known. */
  because: 'set' | 'no-zstd' | 'unmeasured' | 'measured';
  /** The rates that decided, where they were measured. */
  rates: Rates | undefined;
}

/**
 * Compression begins when the processor is this many times as fast as the link. At 1 both would take the same time. The rest is
 * for files that do not get smaller, and for rsync and ssh, which use the same processor.
 */
const BEGIN_AT = 2;
/** Compression ends below this. Between the two it stays as it was, so that a link near the limit does not change each time. */
const END_BELOW = 1.5;

/**
 * Decides whether a run compresses.
 * @param facts `hasZstd`: whether the rsync here can use zstd. `rates`: undefined if they are not known. `bwlimit`: the
 *   config's limit in bytes a second; the link is not faster than that. `was`: the previous decision
 */
export function decideCompression(facts: {
  mode: CompressMode;
  hasZstd: boolean;
  rates: Rates | undefined;
  bwlimit: number | undefined;
  was: boolean;
}): Compression {
  const { mode, hasZstd, bwlimit, was } = facts;
  if (mode === 'no') return { compress: false, because: 'set', rates: undefined };
  if (!hasZstd) return { compress: false, because: 'no-zstd', rates: undefined };
  if (mode === 'zstd') return { compress: true, because: 'set', rates: undefined };
  if (facts.rates === undefined) return { compress: false, because: 'unmeasured', rates: undefined };
  const { processor } = facts.rates;
  const link = Math.min(facts.rates.link, bwlimit ?? Number.POSITIVE_INFINITY);
  const least = link * (was ? END_BELOW : BEGIN_AT);
  return { compress: processor >= least, because: 'measured', rates: { link, processor } };
}
