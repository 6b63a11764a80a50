// The soak of fetch-in-place.test.ts.
import './fetch-in-place.test.ts';
