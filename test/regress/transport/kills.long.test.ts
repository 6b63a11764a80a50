// Goal: as transport/kills, at five points of a run for each of nine kinds of process and group: from its beginning to the very end.
import { killsSuite } from '../../support/kills.ts';

killsSuite('kills at all points', () => [0, 0.25, 0.5, 0.75, 1]);
