// Goal: as hostile/fetch-host, with all attacks and lists.
import './fetch-host.test.ts';
