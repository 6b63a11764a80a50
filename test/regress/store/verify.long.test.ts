// Goal: as store/verify, with all of its tests.
import './verify.test.ts';
