// Goal: as hostile/stream, with all messages in the words of an older rsync.
import './stream.test.ts';
