// Goal: as transport/schedule, with all of its tests.
import './schedule.test.ts';
