// As manifest-from-older, with the tests that are marked for a soak.
import './manifest-from-older.test.ts';
