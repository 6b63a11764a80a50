// Goal: as 20-doctor, with all of its tests.
import './20-doctor.test.ts';
