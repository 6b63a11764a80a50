// Goal: as 16-found-in-review, with a signal at the moment of admission twelve times.
import './16-found-in-review.test.ts';
