// Goal: as restore/drill, with all of its tests.
import './drill.test.ts';
