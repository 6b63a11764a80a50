// The soak of killed.test.ts: kills at more points.
import './killed.test.ts';
