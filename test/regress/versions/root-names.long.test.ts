// Goal: as root-names, over a channel too.
import './root-names.test.ts';
