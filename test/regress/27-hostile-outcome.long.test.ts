// Goal: as 27-hostile-outcome, with each kind of answer that does not end.
import './27-hostile-outcome.test.ts';
