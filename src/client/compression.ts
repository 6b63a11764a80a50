/** Whether what is sent is compressed: decided from what was measured, with the reason. */

/** `[limits] compress`. */
export type CompressMode = 'auto' | 'zstd' | 'no';

/** Both in bytes a second. */
export interface Rates {
  /** What the connection carries. */
  link: number;
  /** What the processor compresses. */
  processor: number;
}

export interface Compression {
  compress: boolean;
  /** `set`: the config says so. `no-zstd`: rsync here cannot. `unmeasured`: nothing is known of the link. */
  because: 'set' | 'no-zstd' | 'unmeasured' | 'measured';
  /** What it was decided by, where that was measured. */
  rates: Rates | undefined;
}

/**
 * So many times the link's rate must the processor make before compression begins. At one both would take as long; the
 * rest is for files that do not get smaller, and for what rsync and ssh need of the same processor.
 */
const BEGIN_AT = 2;
/** Below this it ends. In between it stays as it was: a link near the border would else change with every measurement. */
const END_BELOW = 1.5;

/**
 * @param hasZstd whether rsync here can
 * @param rates undefined where they are not known
 * @param bwlimit bytes a second, the config's: a link that may not carry more is as slow as that
 * @param was what was decided by the measurement before
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
