// Goal: as 32-reader, with all of its tests.
import './32-reader.test.ts';
