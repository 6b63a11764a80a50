// The soak of rsync-that-lies.test.ts: each lie to root and to an ordinary account.
import './rsync-that-lies.test.ts';
