// Goal: as hostile/outcome, with each kind of answer that does not end.
import './outcome.test.ts';
