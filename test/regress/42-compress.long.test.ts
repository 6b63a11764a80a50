// Goal: as 42-compress, with all of its tests.
import './42-compress.test.ts';
