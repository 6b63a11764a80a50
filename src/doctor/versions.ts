/** The versions of rsync and OpenSSH: known vulnerabilities, and features that dialback uses. */
import { hasProgram } from '../os/programs.ts';
import { opensshVersion, rsyncKnows, rsyncVersion, rsyncWords } from '../os/versions.ts';
import {
  type Advisory,
  compareVersions,
  OPENSSH_ADVISORIES,
  openAdvisories,
  RSYNC_ADVISORIES,
} from '../shared/advisories.ts';
import { readChangelog } from '../shared/package-changelog.ts';
import { INSECURE_LINKS } from '../wire/rsync.ts';
import { knowsZstd } from '../wire/rsync-output.ts';
import { LEAST_OPENSSH, WITHOUT_SSHD } from '../wire/ssh.ts';
import { type Finding, Topic } from './finding.ts';

const RSYNC = new Topic(
  'machine.rsync',
  'rsync reads data from the other machine, which can attack it through a known vulnerability',
);
const OPENSSH = new Topic(
  'machine.openssh',
  'OpenSSH faces the network, and a known vulnerability lets an attacker in',
);
const ZSTD = new Topic('machine.zstd', 'a backup over a slow link takes longer without compression');

/** The versions that the installed programs print; undefined for a program that is not installed. */
interface Versions {
  /** version: `unknown` if rsync does not print it; changelog: that of its Debian package, if there is one */
  rsync: { version: string; changelog: string | undefined; hasZstd: boolean } | undefined;
  openssh: { version: string; changelog: string | undefined } | undefined;
}

/** Asks rsync and ssh for their versions, and reads the changelogs of their packages. */
export async function collectVersions(): Promise<Versions> {
  return {
    rsync: hasProgram('rsync') ? await collectRsync() : undefined,
    openssh: hasProgram('ssh') ? await collectOpenssh() : undefined,
  };
}

async function collectRsync(): Promise<Versions['rsync']> {
  const version = await rsyncVersion();
  const hasZstd = knowsZstd(await rsyncWords());
  return { version, changelog: readChangelog('rsync', version), hasZstd };
}

async function collectOpenssh(): Promise<Versions['openssh']> {
  const version = await opensshVersion();
  return { version, changelog: readChangelog('openssh-client', version) };
}

/** @param isDialed this client starts a one-time sshd, which must know the settings and the key type that each run writes */
export function checkVersions({ rsync, openssh }: Versions, isDialed: boolean): Finding[] {
  return [
    ...(rsync ? [checkZstd(rsync.hasZstd), checkRsync(rsync)] : []),
    ...(openssh ? [checkOpenssh(openssh, isDialed)] : []),
  ];
}

function checkZstd(hasZstd: boolean): Finding {
  return hasZstd
    ? ZSTD.ok('rsync can compress with zstd')
    : ZSTD.warning(
        'rsync was built without zstd, so backups are not compressed',
        'install an rsync whose `rsync --version` lists zstd under "Compress list"',
      );
}

function checkRsync({ version, changelog }: { version: string; changelog: string | undefined }): Finding {
  const install = 'apt-get update && apt-get install rsync';
  if (compareVersions(version, '0') === 0)
    return RSYNC.unknown('its version could not be read', 'rsync --version');
  return checkAdvisories(
    RSYNC,
    `rsync ${version}`,
    openAdvisories(version, changelog, RSYNC_ADVISORIES),
    install,
  );
}

function checkOpenssh(
  { version, changelog }: { version: string; changelog: string | undefined },
  isDialed: boolean,
): Finding {
  const install = 'apt-get update && apt-get install openssh-client openssh-server';
  if (compareVersions(version, '0') === 0) return OPENSSH.unknown('its version could not be read', 'ssh -V');
  if (compareVersions(version, LEAST_OPENSSH) < 0) {
    const found = `OpenSSH ${version}; the oldest that dialback is tested with is ${LEAST_OPENSSH}`;
    return isDialed
      ? OPENSSH.critical(found, `${install}; or ${WITHOUT_SSHD}`)
      : OPENSSH.warning(found, install);
  }
  return checkAdvisories(
    OPENSSH,
    `OpenSSH ${version}`,
    openAdvisories(version, changelog, OPENSSH_ADVISORIES),
    install,
  );
}

/** Never more than a warning: a distribution can fix a vulnerability without naming it in the changelog. */
function checkAdvisories(topic: Topic, name: string, open: Advisory[], install: string): Finding {
  if (open.length === 0)
    return topic.ok(`${name} has no vulnerability that this version of dialback knows of`);
  const list = open.map(each => `${each.name} (fixed in ${each.fixedIn}): ${each.what}`).join('; ');
  return topic.warning(
    `${name}, and its package's changelog names no fix for ${list}`,
    `${install} (your distribution may have fixed it all the same: see its security tracker)`,
  );
}

const RECEIVER = new Topic(
  'host.rsync',
  'an account that can change a folder below DIR can put a link there, which an old rsync follows during a restore',
);

/** Asks whether rsync opens each path folder by folder; a version that knows `--insecure-links` does. */
export async function opensByFolder(): Promise<boolean> {
  return await rsyncKnows(INSECURE_LINKS);
}

/** @param isSafe whether rsync opens each path folder by folder */
export function checkReceiver(isSafe: boolean): Finding {
  return isSafe
    ? RECEIVER.ok('during a restore, rsync does not follow a link that another account puts in its way')
    : RECEIVER.warning(
        "rsync can follow a link that another account puts in its way, so root's `restore --force` refuses folders that others can change",
        'restore into an empty folder; or apt-get update && apt-get install rsync, if that brings 3.5.0 or later',
      );
}
