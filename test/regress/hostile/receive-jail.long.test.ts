// Goal: as hostile/receive-jail, with the Landlock of a kernel in between too.
import './receive-jail.test.ts';
