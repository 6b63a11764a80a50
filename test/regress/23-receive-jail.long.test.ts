// Goal: as 23-receive-jail, with the Landlock of a kernel in between too.
import './23-receive-jail.test.ts';
