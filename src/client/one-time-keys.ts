/** The one-time keys of a run, made by ssh-keygen(1). */

import { Fault } from '../fault.ts';
import { withTimeout } from '../os/async.ts';
import { readWhole } from '../os/content.ts';
import { readFifo } from '../os/fifo.ts';
import { removeFileIfThere } from '../os/files.ts';
import { endingText, type Result, run, standard } from '../os/process.ts';
import { hasProgram } from '../os/programs.ts';
import { writeNew } from '../os/replace.ts';
import { readEd25519Line } from '../wire/key.ts';
import { REQUEST_LIMITS } from '../wire/request.ts';
import { SSHD_ENVIRONMENT, sshdConfig, WITHOUT_SSHD } from '../wire/ssh.ts';
import { escapeText } from '../wire/text.ts';
import { tooOld } from './call.ts';

/** On a slow machine with other work ssh-keygen takes more than 15 s (measured in emulation). */
export const KEYGEN_TIMEOUT_MS = 60_000;

/** A key pair. */
interface KeyPair {
  /** `ssh-ed25519 BASE64` */
  publicKey: string;
  /** As ssh-keygen writes it. */
  privateKey: Buffer;
}

/**
 * Makes the key with which the host logs in once. ssh-keygen writes its private half into a FIFO, so it is never on the disk. It
 * finds that the name exists and asks whether to overwrite it; the answer is `y`.
 * @param folder the run folder. FOLDER/key.pub stays there; FOLDER/key is always a FIFO
 * @throws Fault where ssh-keygen fails
 */
export async function makeOneTimeKey(signal: AbortSignal, folder: string): Promise<KeyPair> {
  const path = `${folder}/key`;
  requireSuccess('mkfifo', await run(standard('mkfifo', ['-m', '600', '--', path])));
  const fifo = readFifo(path, REQUEST_LIMITS.key);
  let privateKey: Buffer;
  try {
    const options = { input: 'y\n', timeoutMs: KEYGEN_TIMEOUT_MS, signal };
    requireSuccess('ssh-keygen', await run(keygenCommand(path), options));
    privateKey = await withTimeout(signal, KEYGEN_TIMEOUT_MS, fifo.content, () => {
      return new Fault({ tried: 'make a one-time key', found: 'ssh-keygen did not write one' });
    });
  } finally {
    fifo.close();
  }
  if (!privateKey.subarray(0, 15).equals(Buffer.from('-----BEGIN OPEN'))) {
    throw new Fault({
      tried: 'make a one-time key',
      found: 'ssh-keygen did not write a private key',
    });
  }
  return { privateKey, publicKey: readPublicKey(`${path}.pub`) };
}

/**
 * Makes the key of the one-time sshd. Its private half stays in the run folder until the run ends; no other program trusts it.
 * @returns the public half
 */
async function makeHostKey(signal: AbortSignal, folder: string): Promise<string> {
  const path = `${folder}/host_key`;
  requireSuccess('ssh-keygen', await run(keygenCommand(path), { timeoutMs: KEYGEN_TIMEOUT_MS, signal }));
  return readPublicKey(`${path}.pub`);
}

const SSHD_TEST_MS = 15_000;
/** Values that do not change which options sshd accepts. */
const TRIAL_CONFIG = { forcedCommand: 'true', graceSeconds: 15, idleSeconds: 60 };

/**
 * Makes the key of the one-time sshd, and checks that sshd accepts its config, with its test mode (sshd(8), -t).
 * @param folder a private folder; FOLDER/host_key stays there
 * @returns the public half of the key
 * @throws Fault that names the OpenSSH version and a transport that works without sshd
 */
export async function prepareSshd(signal: AbortSignal, folder: string): Promise<string> {
  if (!hasProgram('sshd')) {
    throw new Fault({
      tried: 'let the backup host connect back',
      found: 'this machine does not have the program "sshd"',
      next: `apt-get update && apt-get install openssh-server; or ${WITHOUT_SSHD}`,
      code: 'config',
    });
  }
  const hostKey = await makeHostKey(signal, folder);
  const path = `${folder}/sshd_trial`;
  writeNew(path, sshdConfig({ run: folder, ...TRIAL_CONFIG }));
  const command = standard('sshd', ['-t', '-f', path], SSHD_ENVIRONMENT);
  const { status, stderr } = await run(command, { timeoutMs: SSHD_TEST_MS, signal });
  removeFileIfThere(path);
  if (status !== 0) throw await tooOld('sshd', escapeText(stderr.trim().split('\n')[0] ?? '', 400));
  return hostKey;
}

function keygenCommand(path: string) {
  return standard('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', '', '-f', path]);
}

function readPublicKey(path: string): string {
  const key = readEd25519Line(readWhole(path, 1024).toString('latin1'));
  if (key === undefined)
    throw new Fault({ tried: `read "${path}"`, found: 'it is not one ed25519 public key' });
  return key;
}

function requireSuccess(program: string, result: Result): void {
  if (result.status === 0) return;
  const found = result.stderr.trim().split('\n').at(-1) || `it ${endingText(result)}`;
  const exit = /No space left/.test(result.stderr) ? ({ exit: 'noSpace' } as const) : {};
  throw new Fault({ tried: `run "${program}"`, found, ...exit });
}
