// Goal: as 46-resume, with all of its tests.
import './46-resume.test.ts';
