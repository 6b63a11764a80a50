// Goal: as restore/fetch-killed, with each process four times, in place and into a folder.
import { fetchKillsSuite } from '../../support/fetch-kills.ts';

fetchKillsSuite('a fetch that was killed twenty times', 20);
