// Goal: as nothing-read, with each way to fail over each transport.
import './nothing-read.test.ts';
