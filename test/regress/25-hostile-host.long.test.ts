// Goal: as 25-hostile-host, with all attacks, of which that one has each third.
import './25-hostile-host.test.ts';
