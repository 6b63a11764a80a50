// Goal: as 44-memory, over a channel too.
import './44-memory.test.ts';
