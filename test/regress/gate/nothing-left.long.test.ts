// Goal: as gate/nothing-left, with each of three signals in each of five phases.
import './nothing-left.test.ts';
