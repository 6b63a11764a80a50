// Goal: as config/hooks, with all of its tests.
import './hooks.test.ts';
