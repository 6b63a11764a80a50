// The same with a kill at every change.
import './rename.test.ts';
