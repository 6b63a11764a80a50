// Goal: as install/install, with all kinds of damage that it repairs, and 15 moments of a kill.
import './install.test.ts';
