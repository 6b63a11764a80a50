// Goal: as hostile/receive-jail, without a root of its own too, with the Landlock of a kernel in between, and the table in security.md.
import './receive-jail.test.ts';
