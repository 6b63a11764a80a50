// Goal: as hostile/no-host-paths, with all of its cases.
import './no-host-paths.test.ts';
