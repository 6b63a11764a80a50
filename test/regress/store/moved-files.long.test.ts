// Goal: as store/moved-files, two snapshots to link against, link_moved and an interrupted tree.
import './moved-files.test.ts';
