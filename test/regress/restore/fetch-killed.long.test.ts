// Goal: after a SIGKILL of any process of a fetch the same command completes it, and a file in place is the old or the new one; each
// process four times, in place and into a folder.
import { fetchKillsSuite } from '../../support/fetch-kills.ts';

fetchKillsSuite('a fetch that was killed twenty times', 20);
