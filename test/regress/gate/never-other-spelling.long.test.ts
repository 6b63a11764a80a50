// The soak of never-other-spelling.test.ts: each spelling against each list.
import './never-other-spelling.test.ts';
