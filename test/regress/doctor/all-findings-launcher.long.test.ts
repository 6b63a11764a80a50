// Goal: as doctor/all-findings-launcher, with all of its tests.
import './all-findings-launcher.test.ts';
