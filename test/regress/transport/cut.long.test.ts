// Goal: as transport/cut, over a channel too.
import './cut.test.ts';
