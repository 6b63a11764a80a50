// The soak of export-pipes.test.ts: gpg, which makes a key.
import './export-pipes.test.ts';
