/**
 * The programs that dialback is compared with, from the packages of Debian 13, whichever Debian this is. They are unpacked into
 * /var/tmp/dialback-bench and run with that suite's own Python and C library. ssh and rsync are this machine's, the same for all.
 */
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DEBIAN_KEYRING, listSources } from '../../test/versions/roots.ts';
import { findSuite } from '../../test/versions/suites.ts';

const CACHE = '/var/tmp/dialback-bench';
const PYTHON = 'python3.13';
const PACKAGES = ['restic', 'borgbackup', 'rdiff-backup', 'rsnapshot'];

export interface Programs {
  restic: string;
  borg: string;
  rdiffBackup: string;
  rsnapshot: string;
}

/** Finds the programs, or unpacks them (20 s). @returns absolute paths, without blanks */
export function findPrograms(): Programs {
  const root = join(CACHE, 'trixie');
  if (!existsSync(root)) unpack(root);
  const bin = join(CACHE, 'trixie/bin');
  return {
    restic: join(bin, 'restic'),
    borg: join(bin, 'borg'),
    rdiffBackup: join(bin, 'rdiff-backup'),
    rsnapshot: join(bin, 'rsnapshot'),
  };
}

function unpack(root: string): void {
  const building = `${root}.${process.pid}`;
  mkdirSync(CACHE, { recursive: true, mode: 0o755 });
  process.stderr.write(`Unpacking ${PACKAGES.join(', ')} of Debian 13 into ${CACHE}\n`);
  const options = ['--quiet', '--variant=extract', `--include=${PACKAGES.join(',')}`];
  const sources = listSources(findSuite('trixie'), DEBIAN_KEYRING);
  try {
    execFileSync('mmdebstrap', [...options, 'trixie', building, ...sources], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    // Nothing of it is run as another account than the one that starts it.
    execFileSync('find', [building, '-perm', '/6000', '-type', 'f', '-exec', 'chmod', 'ug-s', '{}', '+']);
    chmodSync(building, 0o755);
    mkdirSync(join(building, 'bin'));
    const libraries = `${root}/usr/lib/x86_64-linux-gnu`;
    const loader = `${root}/usr/lib64/ld-linux-x86-64.so.2 --library-path ${libraries}`;
    const python = `PYTHONHOME=${root}/usr exec ${loader} ${root}/usr/bin/${PYTHON} -s`;
    const starts = {
      restic: `exec ${root}/usr/bin/restic`,
      borg: `${python} ${root}/usr/bin/borg`,
      'rdiff-backup': `${python} ${root}/usr/bin/rdiff-backup`,
      rsnapshot: `exec /usr/bin/perl ${root}/usr/bin/rsnapshot`,
    };
    for (const [name, start] of Object.entries(starts))
      writeFileSync(join(building, 'bin', name), `#!/bin/sh\n${start} "$@"\n`, { mode: 0o755 });
    compilePython(building);
    renameSync(building, root);
  } finally {
    rmSync(building, { recursive: true, force: true });
  }
}

/** Compiles Python's modules, as the installation of the packages does: each start would compile them again. */
function compilePython(root: string): void {
  const usr = join(root, 'usr');
  const libraries = ['--library-path', join(usr, 'lib/x86_64-linux-gnu')];
  const python = [...libraries, join(usr, 'bin', PYTHON), '-m', 'compileall', '-q'];
  const folders = [join(usr, 'lib', PYTHON), join(usr, 'lib/python3/dist-packages')];
  execFileSync(join(usr, 'lib64/ld-linux-x86-64.so.2'), [...python, ...folders], {
    env: { PYTHONHOME: usr },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
}
