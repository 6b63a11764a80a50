// Goal: a run that is killed at any moment, by any means, loses nothing: the next one succeeds unaided and does not send
// again what had arrived, older snapshots do not change, and nothing is left but run folders, which the next run removes.
// A kill of the process on either side, at one point of a run; transport/kills.long has the others and process groups, at five points.
import { killsSuite } from '../../support/kills.ts';

const POINTS = new Map([
  ['backup', 0.5],
  ['grab', 0],
]);
killsSuite('kills', what => (POINTS.has(what) ? [POINTS.get(what) ?? 0] : []));
