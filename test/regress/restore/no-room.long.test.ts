// The soak of no-room.test.ts: inodes, mounts below DIR, what a killed restore left.
import './no-room.test.ts';
