// Goal: as 45-terminal, with all of its tests.
import './45-terminal.test.ts';
