// Goal: a run that is killed at any moment, by any means, loses nothing: the next one succeeds unaided and does not send
// again what had arrived, older snapshots do not change, and nothing is left but run folders, which the next run removes.
// Each at one point of a run, in turn at its beginning and in the middle; 10-kills.long has five for each.
import { killsSuite } from '../support/kills.ts';

killsSuite('kills', kind => [kind % 2 === 0 ? 0.5 : 0]);
