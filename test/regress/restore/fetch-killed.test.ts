// Goal: after a SIGKILL of a fetch the same command completes it, and a file in place is the old or the new one.
import { fetchKillsSuite } from '../../support/fetch-kills.ts';

fetchKillsSuite('a fetch that was killed', 1);
