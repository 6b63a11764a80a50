// Goal: as store/changed-while-read, with all of its changes.
import './changed-while-read.test.ts';
