// Goal: as install/four-commands, with all of its tests.
import './four-commands.test.ts';
