// Goal: as 21-four-commands, with all of its tests.
import './21-four-commands.test.ts';
