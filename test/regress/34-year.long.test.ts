// Goal: as 34-year, with a prune every Sunday.
import './34-year.test.ts';
