// Goal: as gate/mount-points, with all of its tests.
import './mount-points.test.ts';
