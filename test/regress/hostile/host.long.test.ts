// Goal: as hostile/host, with all attacks, of which that one has each third.
import './host.test.ts';
