// Goal: as config/roots, with all of its tests.
import './roots.test.ts';
