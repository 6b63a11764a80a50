// Goal: as 33-verify, with all of its tests.
import './33-verify.test.ts';
