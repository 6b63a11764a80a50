// Goal: as store/readers, with all of its tests.
import './readers.test.ts';
