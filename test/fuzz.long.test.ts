// As fuzz.test.ts, with many more inputs, and others than those.
import { fuzzSuite } from './fuzz/suite.ts';

fuzzSuite(2500, 100_000, 1);
fuzzSuite(25_000, 500_000, 2);
