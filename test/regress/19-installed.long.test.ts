// Goal: as 19-installed, with all of its tests.
import './19-installed.test.ts';
