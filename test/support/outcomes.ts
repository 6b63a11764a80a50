// Outcomes of runs, for tests of their output.

import type { RunOutcome } from '../../src/client/run-events.ts';
import { EXIT } from '../../src/fault.ts';
import { failedOutcome, type OutcomeEvent } from '../../src/wire/events.ts';

/** The outcome of a run that made a full snapshot. */
export const FULL: OutcomeEvent = {
  ...failedOutcome('rsync'),
  outcome: 'full',
  code: null,
  snapshot: '2026-11-23T00-12-00Z',
  files: 3,
  bytes: 2048,
  transferred_bytes: 10,
};
/** A run with this outcome. */
export const run = (outcome: OutcomeEvent | undefined, more: Partial<RunOutcome> = {}): RunOutcome => ({
  remote: 'nas',
  outcome,
  fault: undefined,
  exit: EXIT.done,
  durationMs: 1234,
  ...more,
});
/** The outcome of a run that could not read some files. */
export const lacking = (missing: OutcomeEvent['missing'], count = missing.length): OutcomeEvent => ({
  ...FULL,
  outcome: 'incomplete',
  missing,
  missing_count: count,
});
