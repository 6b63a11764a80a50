// Goal: as next-steps-store, with a run that does not end.
import './next-steps-store.test.ts';
