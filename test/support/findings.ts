/** For tests of doctor's checks. */
import assert from 'node:assert/strict';
import type { Finding, State } from '../../src/doctor/finding.ts';

/** The states of findings. */
export const states = (findings: Finding[]): State[] => findings.map(each => each.state);

/** Checks a finding's state and text, and that it has a next step exactly if something is wrong. */
export function check(finding: Finding, state: State, found?: RegExp, next?: RegExp): void {
  assert.equal(finding.state, state, finding.found);
  if (found) assert.match(finding.found, found);
  assert.equal(finding.next === null, state === 'ok');
  if (next) assert.match(finding.next ?? '', next);
  assert.match(finding.check, /^(machine|launcher|client|host)\.[a-z_]+$/);
  assert.doesNotMatch(`${finding.found}${finding.why}`, /\n|\.$/);
}
