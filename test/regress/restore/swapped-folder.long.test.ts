// Goal: as restore/swapped-folder, with all of its tests.
import './swapped-folder.test.ts';
