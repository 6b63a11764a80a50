// Goal: as restore/held-below-dir, with all of its tests.
import './held-below-dir.test.ts';
