// The same with a kill at every change.
import './rotate-key.test.ts';
