// Goal: as store/year, with a prune every Sunday.
import './year.test.ts';
