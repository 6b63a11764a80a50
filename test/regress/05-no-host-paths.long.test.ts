// Goal: as 05-no-host-paths, with all of its cases.
import './05-no-host-paths.test.ts';
