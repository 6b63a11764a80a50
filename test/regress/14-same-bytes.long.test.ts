// Goal: as 14-same-bytes, with all of its tests.
import './14-same-bytes.test.ts';
