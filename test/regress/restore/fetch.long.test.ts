// Goal: as restore/fetch, with all of its tests.
import './fetch.test.ts';
