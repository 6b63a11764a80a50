/** Garbage collection between two portions of work. */
import { getHeapStatistics } from 'node:v8';

/** Bytes allocated between two collections. A collection takes about 10 ms. */
const GROWTH = 4 * 1024 * 1024;
let held = 0;

/**
 * Collects garbage if enough memory was allocated since the last time. Call it between two portions of work: V8 ignores the memory of
 * Buffers when it decides to collect, and a collection in the middle of a portion frees little. Without `--expose-gc` (when run
 * from source) it does nothing.
 */
export function dropGarbage(): void {
  const { gc } = globalThis;
  if (gc === undefined || taken() - held < GROWTH) return;
  gc({ type: 'major' });
  held = taken();
}

/** Bytes of V8's heap and of Buffers. */
function taken(): number {
  const { used_heap_size, external_memory } = getHeapStatistics();
  return used_heap_size + external_memory;
}
