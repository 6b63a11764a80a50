// Goal: as gate/confined, with all of its tests.
import './confined.test.ts';
