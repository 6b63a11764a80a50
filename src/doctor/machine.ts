/** The kernel, the privileges of this process, and the executable. */
import type { Subject } from '../os/account.ts';
import { CAPABILITY, CAPABILITY_BIT } from '../os/capability-text.ts';
import { readWhole } from '../os/content.ts';
import { ownExecutable } from '../os/executable.ts';
import { readProc } from '../os/files.ts';
import { installStep } from '../os/install-steps.ts';
import { receiveWithout, sendWithout } from '../os/launcher.ts';
import { kernelRelease } from '../os/uname.ts';
import { compareVersions } from '../shared/advisories.ts';
import { escapeText } from '../wire/text.ts';
import { type Finding, Topic } from './finding.ts';
import { checkTrust } from './trust.ts';

const KERNEL = new Topic(
  'machine.kernel',
  'Landlock, a part of the kernel, keeps an attacker who has taken over rsync from writing and from reading other files',
);
/** Landlock came with Linux 5.13 (ABI 1), which `send` needs; links across folders, which `receive` needs, with 5.19 (ABI 2). */
const SEND_ABI = 1;
const RECEIVE_ABI = 2;
const SEND_KERNEL = '5.13';
const RECEIVE_KERNEL = '5.19';

/** The facts about the kernel's Landlock. */
interface KernelFacts {
  /** As uname(2) has it. */
  release: string;
  /** The text of /sys/kernel/security/lsm; undefined if it cannot be read. */
  lsm: string | undefined;
}

/** Reads the kernel's release and its list of security modules. */
export function collectKernel(): KernelFacts {
  return { release: kernelRelease(), lsm: readSecurityModules() };
}

/** The kernel's security modules, comma-separated; undefined if securityfs is not mounted. */
export function readSecurityModules(): string | undefined {
  try {
    return readWhole('/sys/kernel/security/lsm', 65_536).toString('latin1').trim();
  } catch {
    return undefined;
  }
}

/** The use that this machine makes of Landlock. */
interface KernelNeeds {
  /** The ABI that a jail reported: 0 without Landlock, undefined if no jail was tried. */
  landlockAbi: number | undefined;
  /** Whether a config asks for the jail. */
  isNeeded: boolean;
  /** Whether this machine is a host, whose jail needs a newer Landlock. */
  isHost: boolean;
}

/** Checks that the kernel has the Landlock that the jails need. */
export function checkKernel({ release, lsm }: KernelFacts, needs: KernelNeeds): Finding {
  const { landlockAbi, isNeeded, isHost } = needs;
  // A jail that worked proves more than any list.
  if (landlockAbi !== undefined && landlockAbi >= (isHost ? RECEIVE_ABI : SEND_ABI))
    return KERNEL.ok(`Linux ${release}, Landlock ABI ${landlockAbi}`);
  const least = isHost ? RECEIVE_KERNEL : SEND_KERNEL;
  const without = isHost ? receiveWithout : sendWithout;
  const bad = (found: string, next: string): Finding =>
    isNeeded ? KERNEL.critical(found, next) : KERNEL.ok(`${found}; no config here uses it`);
  if (compareVersions(release, least) < 0) {
    return bad(
      `Linux ${release} is older than ${least}, and its Landlock is not enough`,
      `boot a newer kernel; or ${without()}`,
    );
  }
  if (lsm === undefined && landlockAbi === 0)
    return bad(
      `Linux ${release} without Landlock`,
      `boot with landlock in lsm= on the kernel's command line; or ${without()}`,
    );
  if (lsm === undefined) {
    const found = `Linux ${release} can have Landlock; this account cannot see whether it is switched on`;
    return isNeeded
      ? KERNEL.unknown(found, 'mount -t securityfs securityfs /sys/kernel/security')
      : KERNEL.ok(`${found}; no config here uses it`);
  }
  if (!lsm.split(',').includes('landlock')) {
    return bad(
      `Linux ${release} without Landlock: it is not among its security modules (${escapeText(lsm, 200)})`,
      `boot with lsm=landlock,${escapeText(lsm, 200)} on the kernel's command line; or ${without()}`,
    );
  }
  if (landlockAbi === 0) {
    return bad(
      `Linux ${release} has Landlock, and refuses it here: a container's system call filter can be the reason`,
      `allow landlock_create_ruleset, landlock_add_rule and landlock_restrict_self; or ${without()}`,
    );
  }
  return KERNEL.ok(`Linux ${release} with Landlock`);
}

const EXECUTABLE = new Topic(
  'machine.executable',
  'sshd runs this file on both machines, so an account that can change it can run anything as this account',
);

/** Checks that only root and the account that makes the backups can change this executable. */
export function checkExecutable({ uid }: Subject): Finding {
  const path = ownExecutable();
  return checkTrust(EXECUTABLE, path, uid, `"${path}"`, installStep);
}

const PRIVILEGE = new Topic(
  'machine.privilege',
  'the launcher gets its capability from its file, which does not work for a process that may not gain privileges',
);
/** Without /proc a process cannot see its own privileges and mounts. */
export const PROC_NEXT = 'mount -t proc proc /proc';

/** This process's /proc/self/status, '' if there is no /proc. */
export function readOwnStatus(): string {
  return readProc('self/status') ?? '';
}

/**
 * Checks that a file may give this process a capability.
 * @param text /proc/self/status (proc_pid_status(5))
 */
export function checkProcess(text: string): Finding {
  const bounding = /^CapBnd:\s*([0-9a-f]+)$/m.exec(text)?.[1];
  const noNew = /^NoNewPrivs:\s*([01])$/m.exec(text)?.[1];
  if (bounding === undefined || noNew === undefined)
    return PRIVILEGE.unknown('/proc/self/status does not show the privileges of this process', PROC_NEXT);
  if (noNew === '1') {
    return PRIVILEGE.critical(
      'this process was started with no_new_privs, so a file cannot give it a capability',
      'start it without: in a systemd unit NoNewPrivileges=no, and none of the settings that imply it',
    );
  }
  if ((BigInt(`0x${bounding}`) & (1n << BigInt(CAPABILITY_BIT))) === 0n) {
    return PRIVILEGE.critical(
      `${CAPABILITY} is not in the bounding set of this process (${bounding})`,
      `start it with it: CapabilityBoundingSet=${CAPABILITY.toUpperCase()} in a systemd unit, --cap-add for a container`,
    );
  }
  return PRIVILEGE.ok('a file can give this process a capability');
}
