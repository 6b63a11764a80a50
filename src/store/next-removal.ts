/** Predicts the next removal of a snapshot. */
import { snapshotName, snapshotTime } from '../wire/text.ts';
import {
  type Candidate,
  candidateOf,
  DAY_MS,
  decideRetention,
  type FinishedSnapshot,
  hasRules,
  type Policy,
} from './retention.ts';

/** The last runs that determine the interval between runs. */
const RUNS_LOOKED_AT = 10;
/** The runs to look ahead. */
const HORIZON = 400;

/**
 * Predicts which snapshot the policy will remove first, if full runs continue at their present interval. A removed
 * snapshot is never kept again by later runs, so a binary search finds the moment.
 */
export function nextRemoval(
  all: FinishedSnapshot[],
  policy: Policy,
  at: Date,
): { snapshot: string; at: string } | null {
  if (!hasRules(policy)) return null;
  const candidates = all.map(candidateOf);
  const times = all
    .map(each => snapshotTime(each.name)?.getTime() ?? 0)
    .filter(time => time <= at.getTime())
    .slice(-RUNS_LOOKED_AT);
  const gaps = times.slice(1).map((time, index) => time - (times[index] ?? time));
  const gapMs = Math.max(1000, gaps.sort((a, b) => a - b)[Math.floor(gaps.length / 2)] ?? DAY_MS);
  const after = (runs: number): { snapshot: string; at: string } | null => {
    const time = new Date(at.getTime() + runs * gapMs);
    const coming: Candidate[] = Array.from({ length: runs }, (_, index) => ({
      name: snapshotName(new Date(at.getTime() + (index + 1) * gapMs)),
      state: 'full',
      isPinned: false,
    }));
    const gone = decideRetention([...candidates, ...coming], policy, time).find(each => !each.keep);
    const isReal = gone !== undefined && candidates.some(each => each.name === gone.name);
    return isReal ? { snapshot: gone.name, at: time.toISOString() } : null;
  };
  // Most policies remove one after a few runs. To look far ahead first would take longer than all else.
  let [low, high] = [-1, 0];
  let found = after(high);
  while (found === null) {
    if (high === HORIZON) return null;
    [low, high] = [high, Math.min(HORIZON, 2 * high + 1)];
    found = after(high);
  }
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    const sooner = after(middle);
    if (sooner === null) low = middle;
    else [high, found] = [middle, sooner];
  }
  return found;
}
