// The soak of unenrolled.test.ts: another name, a removed client, a client on its own machine.
import './unenrolled.test.ts';
