// Goal: as 40-local, with all of its tests.
import './40-local.test.ts';
