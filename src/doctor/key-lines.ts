/** The lines of the host's authorized_keys: each should be what `enroll` writes. */

import { enrolledLine, enrolledName, lineKeyId } from '../host/authorized-keys.ts';
import { offerOf } from '../host/offer-keys.ts';
import { type PublicKey, parsePublicKey } from '../wire/key.ts';
import { quoteForShell } from '../wire/text.ts';
import { type Finding, Topic } from './finding.ts';

export const KEYS = new Topic(
  'host.authorized_keys',
  'it says which key may ask for which backup; sshd ignores it if others can write it, and a line without a command lets its key log in',
);

/** While the store's disk is not mounted, `enroll` would create another store. */
export function enrollStep(clients: string[] | undefined): string {
  return clients === undefined ? 'mount the disk of the store first' : 'dialback enroll NAME KEYFILE';
}

/** The lines of authorized_keys, and the command and store that they should name. */
interface KeyLines {
  path: string;
  lines: string[];
  /** The clients in the store; undefined if there is no store that can be read. */
  clients: string[] | undefined;
  executable: string;
  config: string;
  /** `account_client` is set: then a key without a command is allowed, in the historic form. */
  allowsPlainKey: boolean;
}

/** Checks that each enrolled line is what `enroll` would write today, and that there are no other lines, which give more access. */
export function checkLines(facts: KeyLines): Finding[] {
  const { path, clients } = facts;
  const findings: Finding[] = [];
  let enrolled = 0;
  for (const [index, line] of facts.lines.entries()) {
    // The key of an offer serves nothing else, and sshd refuses it when it has expired.
    if (/^\s*(#|$)/.test(line) || offerOf(line) !== undefined) continue;
    const name = enrolledName(line);
    const where = `line ${index + 1} of "${path}"`;
    if (name !== undefined) {
      enrolled += 1;
      findings.push(...checkEnrolled(line, name, where, facts));
    } else if (!facts.allowsPlainKey) {
      findings.push(
        KEYS.warning(
          `${where} was not written by dialback: its key gives access to more than a backup, and with this account to the store`,
          `remove it: sed -i ${index + 1}d ${quoteForShell(path)}`,
        ),
      );
    }
  }
  if (enrolled === 0 && !facts.allowsPlainKey)
    findings.push(KEYS.warning(`no client is enrolled in "${path}"`, enrollStep(clients)));
  const who = enrolled === 1 ? 'one client is' : `${enrolled} clients are`;
  return findings.length > 0 ? findings : [KEYS.ok(`${who} enrolled in "${path}"`)];
}

/** @param where names the line in the message */
function checkEnrolled(
  line: string,
  name: string,
  where: string,
  { clients, executable, config }: KeyLines,
): Finding[] {
  const key = keyOf(line);
  const expected = key && enrolledLine({ executable, name, config, key, keyId: lineKeyId(line) });
  const again = enrollAgain(name, config, key);
  // A line for another host.toml of this account has its folder in the store of that one.
  const isForThisStore = expected !== undefined && afterProgram(line) === afterProgram(expected);
  const findings: Finding[] = [];
  if (line !== expected)
    findings.push(
      KEYS.warning(`${where}, for "${name}", is not bound to "${executable}" and "${config}"`, again),
    );
  if (isForThisStore && clients && !clients.includes(name))
    findings.push(KEYS.critical(`${where} is for "${name}", and the store has no folder for it`, again));
  return findings;
}

/** The client, the config and the key of an enrolled line, without its program. */
function afterProgram(line: string): string {
  return line.slice(line.lastIndexOf("' grab "));
}

/** Enrolling the same key again is harmless: it writes the line as it should be, and creates the client's folder. */
function enrollAgain(name: string, config: string, key: PublicKey | undefined): string {
  const command = `dialback enroll ${name}`;
  const end = `--config ${quoteForShell(config)}`;
  return key
    ? `echo ${quoteForShell(`${key.type} ${key.blob} ${key.comment}`.trim())} | ${command} - ${end}`
    : `${command} KEYFILE ${end}`;
}

/** The key at the end of a line that `enroll` wrote. */
function keyOf(line: string): PublicKey | undefined {
  const text = /" (\S+ \S+(?: .*)?)$/.exec(line)?.[1];
  const parsed = text === undefined ? undefined : parsePublicKey(text);
  return parsed && 'value' in parsed ? parsed.value : undefined;
}
