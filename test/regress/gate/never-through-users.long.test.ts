// Goal: as never-through-users, with all of its cases.
import './never-through-users.test.ts';
