// Goal: as 18-install, with all kinds of damage that it repairs, and 15 moments of a kill.
import './18-install.test.ts';
