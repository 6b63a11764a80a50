// Goal: as 31-space, with all of its tests.
import './31-space.test.ts';
