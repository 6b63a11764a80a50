// The soak of enroll-and-restore.test.ts: all keys, names and paths that are refused.
import './enroll-and-restore.test.ts';
