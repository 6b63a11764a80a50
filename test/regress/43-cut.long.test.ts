// Goal: as 43-cut, over a channel too.
import './43-cut.test.ts';
