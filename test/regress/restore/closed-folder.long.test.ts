// The soak of closed-folder.test.ts: folders that are there, owners, filled folders.
import './closed-folder.test.ts';
