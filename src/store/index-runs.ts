/** The runs of snapshots that hold a file, as the index stores them: `FIRST-LAST`, or `FIRST-` up to the newest one. */

/** The places in `ids` of the snapshots that contain a file with these runs. */
export function* membersOf(runs: string, ids: number[]): Generator<number> {
  const seen = new Set<number>();
  for (const run of runs.split(',')) {
    const [first = '', last = ''] = run.split('-');
    const end = last === '' ? Number.POSITIVE_INFINITY : Number(last);
    for (let at = placeFrom(ids, Number(first)); at < ids.length && (ids[at] ?? 0) <= end; at += 1) {
      if (seen.has(at)) continue;
      seen.add(at);
      yield at;
    }
  }
}

/** The place of the first number that is at least `least`. */
function placeFrom(ids: number[], least: number): number {
  let [low, high] = [0, ids.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((ids[middle] ?? 0) < least) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** When the last snapshot that contains a file is removed; Infinity if one stays. */
export function lastRemoval(runs: string, ids: number[], removedAt: number[]): number {
  let latest = -1;
  for (const at of membersOf(runs, ids)) {
    latest = Math.max(latest, removedAt[at] ?? Number.POSITIVE_INFINITY);
    if (latest === Number.POSITIVE_INFINITY) break;
  }
  return latest < 0 ? Number.POSITIVE_INFINITY : latest;
}
