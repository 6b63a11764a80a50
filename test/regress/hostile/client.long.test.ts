// Goal: as hostile/client, with all attacks in the words of other versions of rsync.
import './client.test.ts';
