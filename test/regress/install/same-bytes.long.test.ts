// Goal: as install/same-bytes, with all of its tests.
import './same-bytes.test.ts';
