// Goal: as doctor/all-findings, with all of its tests.
import './all-findings.test.ts';
