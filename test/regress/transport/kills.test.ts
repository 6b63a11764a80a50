// Goal: a run that is killed at any moment, by any means, loses nothing: the next one succeeds unaided and does not send
// again what had arrived, older snapshots do not change, and nothing is left but run folders, which the next run removes.
// Each second kind, each at one point of a run; transport/kills.long has all, each at five.
import { killsSuite } from '../../support/kills.ts';

killsSuite('kills', kind => [[0.5], [], [], [], [], [0]][kind % 6] ?? []);
