/** The steps that install dialback again. The package managers are asked only when a message needs it. */
import { escapeText } from '../wire/text.ts';
import { isPackaged, ownExecutable } from './executable.ts';
import { findInstallation, type Installation } from './installation.ts';
import { outputNow, standard } from './process.ts';
import { hasProgram } from './programs.ts';

const ASK_MS = 20_000;

let known: Installation | undefined;

/** Finds it out once. If no package manager answers, it was `make install`. */
function ownInstallation(): Installation {
  known ??= isPackaged() ? findInstallation(ownExecutable(), ask) : { by: 'make' };
  return known;
}

function ask(program: string, args: string[]): string | undefined {
  return hasProgram(program) ? outputNow(standard(program, args), ASK_MS) : undefined;
}

/** apt does not put back a file in /etc that the administrator removed, except with this option. */
const WITH_CONFIGS = '-o Dpkg::Options::=--force-confmiss ';

/**
 * The step that puts the files of an installation back.
 * @param hasLostConfig whether a file in /etc/dialback is missing
 * @param installation as `findInstallation()` returns it; that of this executable, if absent
 */
export function installStep(hasLostConfig = false, installation = ownInstallation()): string {
  const option = hasLostConfig ? WITH_CONFIGS : '';
  switch (installation.by) {
    case 'make':
      return "make install, as root, in dialback's sources";
    case 'rpm':
      return `rpm --reinstall ./${escapeText(installation.file)}, as root, in that file's folder`;
    case 'dpkg':
      return installation.isOffered
        ? `apt-get install --reinstall ${option}${installation.name}, as root`
        : `apt-get install --reinstall ${option}./${debFile(installation)}, as root, in that file's folder`;
  }
}

/** The name that dpkg-deb gives a package's file: without the epoch. */
function debFile({ name, version, architecture }: Installation & { by: 'dpkg' }): string {
  return escapeText(`${name}_${version.replace(/^\d+:/, '')}_${architecture}.deb`);
}

/** The step that lends rsync its capability, on a kernel without Landlock. The packages have no launcher for it. */
export function inheritStep(installation = ownInstallation()): string {
  switch (installation.by) {
    case 'make':
      return "make install INHERITED=1, as root, in dialback's sources";
    case 'rpm':
      return `rpm --erase ${installation.name} && make install INHERITED=1, as root, in dialback's sources`;
    case 'dpkg':
      return `apt-get remove ${installation.name} && make install INHERITED=1, as root, in dialback's sources`;
  }
}

/** An addition to a step about a mount. @returns '' for a package, which has one place */
export function otherPrefixStep(installation = ownInstallation()): string {
  return installation.by === 'make' ? ', or make install PREFIX=…' : '';
}
