/** Whether a run compresses the files that it sends. */

/** `[limits] compress` of client.toml. `auto`: an old value, the same as `zstd`. */
type CompressMode = 'zstd' | 'auto' | 'no';

/** The decision for one run. */
export interface Compression {
  compress: boolean;
  /** `set`: by the config. `no-zstd`: the rsync here cannot compress. */
  because: 'set' | 'no-zstd';
}

/**
 * Decides whether a run compresses. Neither the speed of the connection nor the kind of the files matters: docs/design.md,
 * "Compression", has the measurements.
 * @param hasZstd whether the rsync here can use zstd
 */
export function decideCompression(mode: CompressMode, hasZstd: boolean): Compression {
  if (mode === 'no') return { compress: false, because: 'set' };
  return hasZstd ? { compress: true, because: 'set' } : { compress: false, because: 'no-zstd' };
}
