// Goal: as 29-hostile-stream, with all messages in the words of an older rsync.
import './29-hostile-stream.test.ts';
