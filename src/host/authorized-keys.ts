/**
 * The account's authorized_keys file: one line for each enrolled client, which binds the client's key to one command (sshd(8),
 * AUTHORIZED_KEYS FILE FORMAT). Lines of others stay as they are.
 */
import { Fault } from '../fault.ts';
import { readWhole } from '../os/content.ts';
import { exists, makeFolder, realPath, stat } from '../os/files.ts';
import { replaceFile } from '../os/replace.ts';
import { type DisposableHolder, takeLock } from '../os/runfolder.ts';
import type { PublicKey } from '../wire/key.ts';
import { quoteForShell } from '../wire/text.ts';

/** Bytes of authorized_keys that are read. */
const FILE_LIMIT = 16 * 1024 * 1024;

/** The parts of the command that a client's key is bound to. Executable and config are paths. */
interface EnrolledCommand {
  executable: string;
  name: string;
  config: string;
  /** The id of the key, where it has come by a rotation (host/client-keys.ts). */
  keyId?: string | undefined;
}

/** The command that a client's key is bound to, as sshd passes it to the account's shell. */
export function enrolledCommand({ executable, name, config, keyId }: EnrolledCommand): string {
  const key = keyId === undefined ? '' : `--key ${keyId} `;
  return `${quoteForShell(executable)} grab ${key}--client ${name} --config ${quoteForShell(config)}`;
}

/** The line of authorized_keys for a client. */
export function enrolledLine(options: EnrolledCommand & { key: PublicKey }): string {
  const { type, blob, comment } = options.key;
  const quoted = enrolledCommand(options).replaceAll('"', '\\"');
  return `restrict,command="${quoted}" ${type} ${blob}${comment === '' ? '' : ` ${comment}`}`;
}

/** @returns the name of the client that a line of authorized_keys is for; undefined if `enroll` did not write the line */
export function enrolledName(line: string): string | undefined {
  return partsOf(line)?.name;
}

/** @returns the id in the line of a key that has come by a rotation */
export function lineKeyId(line: string): string | undefined {
  return partsOf(line)?.keyId;
}

function partsOf(line: string): { name: string; keyId: string | undefined } | undefined {
  const [, keyId, name] =
    /^restrict,command="'(?:[^"\\]|\\.)*' grab (?:--key ([0-9a-f]{16}) )?--client ([a-z0-9][a-z0-9._-]{0,62}) --config '/.exec(
      line,
    ) ?? [];
  return name === undefined ? undefined : { name, keyId };
}

/**
 * Rewrites a line that is bound to a client, its own or that of an offer, for the client's new name. Pure.
 * @param config the path of host.toml: a line for another store stays
 * @returns undefined for every other line
 */
export function renamedLine(
  line: string,
  { from, to, config }: { from: string; to: string; config: string },
): string | undefined {
  const [, start = '', name, end = ''] =
    /^(restrict,(?:expiry-time="\d{14}Z?",)?command="'[^"\\']*' grab (?:--offer [0-9a-f]{8} |--key [0-9a-f]{16} )?--client )(\S+)( --config .*)$/s.exec(
      line,
    ) ?? [];
  // As openKeys() returns it: one character for each byte.
  const own = Buffer.from(` --config ${quoteForShell(config)}" `, 'utf8').toString('latin1');
  return name === from && end.startsWith(own) ? `${start}${to}${end}` : undefined;
}

/** The changed lines of the file, and the kind of the change. */
export type KeysChange = { lines: string[]; did: 'added' | 'kept' | 'updated' | 'replaced' };

/** Why a key cannot be placed: the file has it in another line; the client has another key; the client has none. */
export interface KeyRefusal {
  why: 'key-taken' | 'other-key' | 'not-enrolled';
  /** The same for people. */
  reason: string;
}

/**
 * Adds a client's line to the lines of an authorized_keys file, or replaces it. Pure.
 * @param lines the file's lines, without newlines
 * @param replace whether a line with another key of the client may be replaced
 * @returns the changed lines, or the reason for the refusal
 */
export function placeLine(
  lines: string[],
  name: string,
  key: PublicKey,
  line: string,
  replace: boolean,
): { value: KeysChange } | KeyRefusal {
  const taken = whyTaken(lines, name, key);
  if (taken !== undefined) return { why: 'key-taken', reason: taken };
  const own = lines.filter(each => enrolledName(each) === name);
  if (own.length === 0) return { value: { lines: [...lines, line], did: 'added' } };
  if (own.length === 1 && own[0] === line) return { value: { lines, did: 'kept' } };
  const isSameKey = own.every(each => hasKey(each, key));
  if (!isSameKey && !replace) {
    return { why: 'other-key', reason: `"${name}" is enrolled already, with another key` };
  }
  const rest = lines.filter(each => enrolledName(each) !== name);
  return { value: { lines: [...rest, line], did: isSameKey ? 'updated' : 'replaced' } };
}

/** Why a client cannot have a key; undefined if it can. */
export function whyTaken(lines: string[], name: string, key: PublicKey): string | undefined {
  for (const each of lines.filter(line => !line.startsWith('#') && hasKey(line, key))) {
    const other = enrolledName(each);
    if (other === undefined)
      return 'the file has this key already, without a command of dialback: it would allow a login';
    if (other !== name) return `the key is enrolled already, for "${other}"`;
  }
  return undefined;
}

/** Whether a line has a key. */
export function hasKey(line: string, key: PublicKey): boolean {
  return line.split(/\s+/).includes(key.blob);
}

/**
 * Reads the lines of an authorized_keys file, and locks it until `held` is released. Each byte is one character (latin1), since other
 * lines need not be UTF-8.
 * @throws Fault `locked` if another enrollment is active; or if the file cannot be read
 */
export async function openKeys(held: DisposableHolder, file: string): Promise<string[]> {
  const folder = file.slice(0, file.lastIndexOf('/')) || '/';
  if (!exists(folder)) makeFolder(folder);
  if ((await takeLock(held, `${folder}/.dialback-lock`)) === undefined) {
    throw new Fault({ tried: `change "${file}"`, found: 'another enrollment is active', exit: 'locked' });
  }
  if (!exists(file)) return [];
  const text = readWhole(file, FILE_LIMIT).toString('latin1');
  return text === '' ? [] : text.replace(/\n$/, '').split('\n');
}

/** Replaces the lines of an authorized_keys file that `openKeys()` has locked. It keeps its mode, and a symbolic link to it. */
export function writeKeys(file: string, lines: string[]): void {
  const target = exists(file) ? realPath(file) : file;
  const mode = exists(target) ? stat(target).mode & 0o777 : 0o600;
  replaceFile(target, Buffer.from(lines.map(line => `${line}\n`).join(''), 'latin1'), mode);
}
