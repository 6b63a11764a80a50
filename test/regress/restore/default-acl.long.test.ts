// The soak of default-acl.test.ts: other folders and accounts.
import './default-acl.test.ts';
