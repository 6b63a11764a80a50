// Goal: as 28-permissions, with all of its tests.
import './28-permissions.test.ts';
