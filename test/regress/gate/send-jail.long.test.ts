// Goal: as gate/send-jail, with the Landlock of a kernel in between too.
import './send-jail.test.ts';
