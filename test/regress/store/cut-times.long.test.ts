// Goal: as store/cut-times, with all of its tests.
import './cut-times.test.ts';
