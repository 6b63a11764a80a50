// The soak of link-local.test.ts: each way to name the peer.
import './link-local.test.ts';
