// Goal: as store/resume, with all of its tests.
import './resume.test.ts';
