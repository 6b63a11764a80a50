// Goal: as store/deep-folders, with all of its tests.
import './deep-folders.test.ts';
