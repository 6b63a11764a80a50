// Goal: as transport/terminal, with all of its tests.
import './terminal.test.ts';
