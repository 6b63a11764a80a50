// Goal: as cannot-write, with all of its cases.
import './cannot-write.test.ts';
