// As no-landlock, with the tests that are marked for a soak.
import './no-landlock.test.ts';
