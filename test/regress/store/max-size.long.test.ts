// Goal: as store/max-size, the limit that the host sets.
import './max-size.test.ts';
