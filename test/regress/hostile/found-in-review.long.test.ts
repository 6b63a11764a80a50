// Goal: as hostile/found-in-review, with a signal at the moment of admission twelve times.
import './found-in-review.test.ts';
