// Goal: as store/permissions, with all of its tests.
import './permissions.test.ts';
