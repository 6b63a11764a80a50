// Goal: as next-steps-reinstall, with all of its tests.
import './next-steps-reinstall.test.ts';
