// Goal: as 24-confined, with all of its tests.
import './24-confined.test.ts';
