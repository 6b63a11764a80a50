// Goal: as install/installed, with all of its tests.
import './installed.test.ts';
