// Goal: as store/space, with all of its tests.
import './space.test.ts';
