// Goal: as store/interrupted-tree, with all of its tests.
import './interrupted-tree.test.ts';
