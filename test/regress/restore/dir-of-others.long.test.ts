// The soak of dir-of-others.test.ts: all folders that are refused.
import './dir-of-others.test.ts';
