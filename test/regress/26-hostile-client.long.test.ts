// Goal: as 26-hostile-client, with all attacks in the words of other versions of rsync.
import './26-hostile-client.test.ts';
