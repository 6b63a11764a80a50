// Goal: `packages` on a system of pacman: an exclude list with which a backup has everything but the files that pacman can put back, and
// `--put-back` after a restore. makepkg makes the packages, and pacman installs them in a system below a folder.
import { NEEDS_PACMAN, PacmanSystem } from '../../support/pacman-system.ts';
import { describePackages, OTHERS, TOOL } from '../../support/recorded-packages.ts';

describePackages(
  {
    name: 'pacman',
    skip: NEEDS_PACMAN,
    rebuild: {
      versions: /^tool=2:1\.0-1$/m,
      manual: /^tool$/m,
      dependencies: /^/,
      foreign: /^local$/m,
      keyrings: /^test$/m,
      'files/etc/pacman.conf': /^\[web\]$/m,
      written: /\npacman\n/,
    },
  },
  async base => {
    const system = new PacmanSystem(base);
    system.install(TOOL, ...OTHERS);
    return system;
  },
);
