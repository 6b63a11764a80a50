// Goal: as next-steps-install, with the steps that build.
import './next-steps-install.test.ts';
