// Goal: as doctor/all-findings-host, and nothing is found after the test itself has put things right.
import './all-findings-host.test.ts';
