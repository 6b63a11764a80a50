// Goal: as transport/outcomes, with all of its tests.
import './outcomes.test.ts';
