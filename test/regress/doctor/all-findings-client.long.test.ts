// Goal: as doctor/all-findings-client, with all of its tests.
import './all-findings-client.test.ts';
