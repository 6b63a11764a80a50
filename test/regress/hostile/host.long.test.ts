// Goal: as hostile/host, with all attacks, of which that one has each twelfth.
import './host.test.ts';
