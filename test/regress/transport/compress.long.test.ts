// Goal: as transport/compress, with all of its tests.
import './compress.test.ts';
