/** Garbage collection between two portions of work. */
import { getHeapStatistics } from 'node:v8';

/** Bytes that may be made between two collections. One takes some 10 ms. */
const GROWTH = 4 * 1024 * 1024;
let held = 0;

/**
 * Has the memory of what is not held any more collected, where enough was made since the last time. To be called between two
 * portions of work: V8 does not count what Buffers take when it makes up its mind, and finds in use what it looks at in the
 * middle of a portion. (From source, without `--expose-gc`, nothing is done.)
 */
export function dropGarbage(): void {
  const { gc } = globalThis;
  if (gc === undefined || taken() - held < GROWTH) return;
  gc({ type: 'major' });
  held = taken();
}

/** Bytes of V8's heap, and of Buffers outside of it. */
function taken(): number {
  const { used_heap_size, external_memory } = getHeapStatistics();
  return used_heap_size + external_memory;
}
