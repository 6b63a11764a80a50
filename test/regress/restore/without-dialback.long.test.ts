// The soak of without-dialback.test.ts: over ssh.
import './without-dialback.test.ts';
