// Goal: as versions/flags, over the channel too.
import './flags.test.ts';
