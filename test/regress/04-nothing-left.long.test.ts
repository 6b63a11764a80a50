// Goal: as 04-nothing-left, with each of three signals in each of five phases.
import './04-nothing-left.test.ts';
