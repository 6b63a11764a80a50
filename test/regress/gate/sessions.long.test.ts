// The soak of sessions.test.ts: all commands.
import './sessions.test.ts';
