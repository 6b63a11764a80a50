// Goal: as next-steps-install, with all of its tests.
import './next-steps-install.test.ts';
