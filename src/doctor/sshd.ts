/** The host's system sshd: whether it listens, and whether it lets the account of the store in. */
import { connect } from 'node:net';
import type { Subject } from '../os/account.ts';
import { readWhole } from '../os/content.ts';
import { exists, failedWith, readdir } from '../os/files.ts';
import { run, standard } from '../os/process.ts';
import { hasProgram } from '../os/programs.ts';
import { type Finding, Topic } from './finding.ts';

const PATIENCE_MS = 10_000;
const CONNECT_MS = 2_000;

const SSHD = new Topic('host.sshd', "the system's sshd takes the call that a backup begins with");

/** The facts about the system's sshd and the account. */
interface SshdFacts {
  port: number;
  /** Whether a connection to the port succeeded. */
  isThere: boolean;
  usesPam: boolean;
  /** Whether `passwd -S` calls the password locked, which it does for "!" and for "*". */
  isLocked: boolean;
  name: string;
}

/** Reads sshd's config, asks passwd(1) and connects to the port. */
export async function collectSshd({ name }: Subject): Promise<SshdFacts> {
  const config = readSshdConfig();
  const port = Number(/^\s*Port\s+(\d+)/im.exec(config)?.[1] ?? 22);
  const { stdout } = hasProgram('passwd')
    ? await run(standard('passwd', ['-S']), { timeoutMs: PATIENCE_MS })
    : { stdout: Buffer.alloc(0) };
  return {
    port,
    isThere: await answers(port),
    usesPam: /^\s*UsePAM\s+(\w+)/im.exec(config)?.[1]?.toLowerCase() === 'yes', // sshd uses the first value
    isLocked: /^\S+ LK? /.test(stdout.toString('utf8')),
    name,
  };
}

/** sshd's config with the files that it includes, but for those that this account may not read. */
function readSshdConfig(): string {
  const folder = '/etc/ssh/sshd_config.d';
  const texts: string[] = [];
  try {
    const more = exists(folder) ? readdir(folder).sort() : [];
    // sshd uses the first value of a setting, and Debian's config includes the folder first.
    for (const path of [...more.map(name => `${folder}/${name}`), '/etc/ssh/sshd_config'])
      if (path.endsWith('.conf') || path.endsWith('sshd_config'))
        texts.push(readWhole(path, 1024 * 1024).toString('utf8'));
  } catch (error) {
    if (failedWith(error, 'ENOENT')) return '';
  }
  return texts.join('\n');
}

function answers(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect({ host: '127.0.0.1', port });
    const end = (isThere: boolean): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(isThere);
    };
    const timer = setTimeout(() => end(false), CONNECT_MS);
    socket.once('connect', () => end(true)).once('error', () => end(false));
  });
}

/** Checks that a program listens, and that the account's password does not keep it out. */
export function checkSshd(facts: SshdFacts): Finding {
  const { port, name } = facts;
  if (!facts.isThere) {
    return SSHD.warning(
      `no program listens on port ${port} of 127.0.0.1; sshd may listen on another address`,
      'systemctl enable --now ssh',
    );
  }
  if (facts.isLocked && !facts.usesPam) {
    // passwd(1) calls "*" locked too, so the step sets a hash that no password has and that is not locked: NP.
    return SSHD.unknown(
      `the password of "${name}" is locked, and sshd does not use PAM. sshd then admits an account with the password "*", and refuses one with "!"; this account cannot see which it is`,
      `as root: usermod -p NP ${name}`,
    );
  }
  return SSHD.ok(`a program listens on port ${port}`);
}
