// Goal: as 22-send-jail, with the Landlock of a kernel in between too.
import './22-send-jail.test.ts';
