// The soak of linked-part.test.ts: more parts, and an ordinary account.
import './linked-part.test.ts';
