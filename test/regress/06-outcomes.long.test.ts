// Goal: as 06-outcomes, with all of its tests.
import './06-outcomes.test.ts';
