// Goal: as transport/local, with all of its tests.
import './local.test.ts';
