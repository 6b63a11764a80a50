// As fuzz.test.ts, with many more inputs, and others than those.
import { fuzzSuite } from './fuzz/suite.ts';

fuzzSuite(5000, 150_000, 2);
