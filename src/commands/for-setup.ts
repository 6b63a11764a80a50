/** The commands that set a machine up and look for faults: the executable loads them together (table.ts). */
export { config } from './config.ts';
export { doctor } from './doctor.ts';
export { enroll } from './enroll.ts';
export { help } from './help.ts';
export { init } from './init.ts';
export { packages } from './packages.ts';
export { rename } from './rename.ts';
export { retire } from './retire.ts';
export { rotateKey } from './rotate-key.ts';
export { tryOut } from './try.ts';
export { unenroll } from './unenroll.ts';
export { weigh } from './weigh.ts';
