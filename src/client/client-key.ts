/** The client's own key, with which it calls the host: made by `init`, without a passphrase. */
import { Fault, type FaultParts } from '../fault.ts';
import { ownAccount } from '../os/account.ts';
import { readWhole } from '../os/content.ts';
import { lstat, removeFileIfThere, stat } from '../os/files.ts';
import { type Result, run, standard } from '../os/process.ts';
import { placeFile } from '../os/replace.ts';
import { type DisposableHolder, makeRunFolder } from '../os/runfolder.ts';
import { readEd25519Line } from '../wire/key.ts';
import { escapeText, quoteForShell } from '../wire/text.ts';
import { KEYGEN_TIMEOUT_MS } from './one-time-keys.ts';
import { killReader } from './ticket.ts';

const KEY_BYTES = 16 * 1024;

/** The client's key. */
export interface ClientKey {
  /** The file with the private half; `PATH.pub` has the public half. */
  path: string;
  /** `ssh-ed25519 BASE64` */
  publicKey: string;
  /** Whether this call has made it. */
  isNew: boolean;
}

interface KeyOptions {
  held: DisposableHolder;
  /** The state folder. */
  state: string;
  path: string;
  comment: string;
  interrupt: AbortSignal;
}

/**
 * Uses the key that is there, or makes one.
 * @throws Fault (exit 2) where the file is not a private ed25519 key of this account without a passphrase
 */
export async function ownKey(options: KeyOptions): Promise<ClientKey> {
  const { path, comment } = options;
  const half = `${path}.pub`;
  removeFileIfThere(`${path}.new`); // a private key, where an earlier init was killed
  const isNew = !isThere(path);
  if (isNew && isThere(half)) {
    throw usage({
      tried: `make the key "${path}"`,
      found: `there is "${half}", the public half of a key whose private half is gone`,
      next: `put that back, or: rm ${quoteForShell(half)}`,
    });
  }
  const publicKey = isNew ? await makeKey(options) : await readKey(options);
  // The public half can be made from the private half, so an init that is killed between the two does no harm.
  if (!isThere(half)) placeFile(half, `${publicKey} ${comment}\n`, 0o644);
  requireHalf(path, half, publicKey);
  return { path, publicKey, isNew };
}

/** Whether there is an entry, even a link that leads nowhere. */
function isThere(path: string): boolean {
  return lstat(path, { throwIfNoEntry: false }) !== undefined;
}

/** Makes a key without a passphrase, because no person is there during a backup. It is made in a run folder: never backed up. */
async function makeKey({ held, state, path, comment, interrupt }: KeyOptions): Promise<string> {
  const folder = await makeRunFolder(held, state, killReader);
  const fresh = `${folder}/new_key`;
  const made = await keygen(interrupt, ['-t', 'ed25519', '-N', '', '-C', comment, '-f', fresh]);
  if (made.status !== 0) {
    const exit = /No space left/.test(made.stderr) ? ({ exit: 'noSpace' } as const) : {};
    throw new Fault({ tried: 'make a key', found: lastLine(made.stderr), ...exit });
  }
  const publicKey = readEd25519Line(readWhole(`${fresh}.pub`, KEY_BYTES).toString('latin1'));
  if (publicKey === undefined)
    throw new Fault({ tried: 'make a key', found: 'ssh-keygen did not write an ed25519 key' });
  placeFile(path, readWhole(fresh, KEY_BYTES));
  return publicKey;
}

/** Reads the public half from the private half that is there. */
async function readKey({ path, interrupt }: KeyOptions): Promise<string> {
  const tried = `use the key "${path}"`;
  const found = stat(path);
  const { uid } = ownAccount();
  if (!found.isFile()) throw usage({ tried, found: 'it is not a plain file' });
  if (found.uid !== uid) throw usage({ tried, found: `it belongs to uid ${found.uid}` });
  // ssh would refuse it too.
  if ((found.mode & 0o077) !== 0)
    throw usage({ tried, found: 'others may read or write it', next: `chmod 600 ${quoteForShell(path)}` });
  const next = 'move it away, and its .pub: then init makes another one';
  const { status, stdout, stderr } = await keygen(interrupt, ['-y', '-P', '', '-f', path]);
  if (/passphrase/.test(stderr))
    throw usage({ tried, found: 'it has a passphrase, which a backup at night cannot enter', next });
  if (status !== 0) throw usage({ tried, found: lastLine(stderr), next });
  const publicKey = readEd25519Line(stdout.toString('latin1'));
  if (publicKey === undefined) throw usage({ tried, found: 'it is not an ed25519 key', next });
  return publicKey;
}

async function keygen(interrupt: AbortSignal, args: string[]): Promise<Result> {
  const options = { timeoutMs: KEYGEN_TIMEOUT_MS, signal: interrupt };
  return await run(standard('ssh-keygen', ['-q', ...args]), options);
}

function lastLine(stderr: string): string {
  return escapeText(stderr.trim().split('\n').at(-1) ?? '') || 'ssh-keygen failed without a message';
}

/** ssh offers the key in the public half. With a wrong one the call would fail without a clear reason. */
function requireHalf(path: string, half: string, publicKey: string): void {
  if (readEd25519Line(readWhole(half, KEY_BYTES).toString('utf8')) === publicKey) return;
  throw usage({
    tried: `use the key "${path}"`,
    found: `"${half}" is not its public half`,
    next: `rm ${quoteForShell(half)} (init writes it again)`,
  });
}

function usage(parts: Omit<FaultParts, 'exit'>): Fault {
  return new Fault({ ...parts, exit: 'usage' });
}
