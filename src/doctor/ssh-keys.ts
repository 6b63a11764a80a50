/** The files that a client calls its host with: its own key, and the host's key in known_hosts. */

import { keygenText } from '../client/config.ts';
import type { Called } from '../client/ssh-settings.ts';
import { inspectCommand } from '../os/access-advice.ts';
import { ownAccount } from '../os/account.ts';
import { readWhole } from '../os/content.ts';
import { exists, failedWith, mayRead, stat } from '../os/files.ts';
import { run, standard } from '../os/process.ts';
import { escapeText, quoteForShell } from '../wire/text.ts';
import { type Finding, Topic } from './finding.ts';
import { checkTrust } from './trust.ts';

const PATIENCE_MS = 10_000;

const KEY = new Topic(
  'client.key',
  'this machine calls its host with this key; ssh refuses a key that others can read',
);

/** @param path the private key */
export async function collectKey(path: string): Promise<Finding> {
  const quoted = quoteForShell(path);
  const make = `${keygenText(path)}, and enroll ${quoteForShell(`${path}.pub`)} on the host`;
  let found: ReturnType<typeof stat>;
  try {
    found = stat(path);
  } catch (error) {
    return failedWith(error, 'EACCES')
      ? KEY.unknown(`this account may not look at "${path}"`, inspectCommand(path))
      : KEY.critical(`there is no key "${path}"`, make);
  }
  const { uid, name } = ownAccount();
  // ssh checks the mode only of files of the account itself, so root's key may be readable by a group.
  if (found.uid !== uid && (found.uid !== 0 || !mayRead(path)))
    return KEY.critical(`"${path}" belongs to uid ${found.uid}`, `chown ${name} ${quoted}`);
  if (found.uid === uid && (found.mode & 0o077) !== 0) {
    const mode = (found.mode & 0o777).toString(8);
    return KEY.critical(
      `"${path}" is open to others (mode ${mode}), and ssh does not take it`,
      `chmod 600 ${quoted}`,
    );
  }
  const printed = await run(standard('ssh-keygen', ['-y', '-P', '', '-f', path]), { timeoutMs: PATIENCE_MS });
  if (printed.status !== 0) {
    return /passphrase/.test(printed.stderr)
      ? KEY.critical(
          `"${path}" has a passphrase, which a backup cannot enter`,
          `ssh-keygen -p -N '' -f ${quoted}`,
        )
      : KEY.critical(`"${path}" is not a private key: ${escapeText(printed.stderr.trim(), 200)}`, make);
  }
  return checkHalves(path, printed.stdout.toString('utf8'), readPublicHalf(path));
}

function readPublicHalf(path: string): string | undefined {
  try {
    return readWhole(`${path}.pub`, 65_536).toString('utf8');
  } catch {
    return undefined;
  }
}

/** ssh offers the key in `PATH.pub`; if that belongs to another private key, the host refuses it. */
function checkHalves(path: string, own: string, beside: string | undefined): Finding {
  const blob = (text: string): string | undefined => text.trim().split(/\s+/)[1];
  if (beside !== undefined && blob(beside) !== blob(own)) {
    return KEY.critical(
      `"${path}.pub" is not the public half of "${path}"`,
      `ssh-keygen -y -f ${quoteForShell(path)} > ${quoteForShell(`${path}.pub`)}`,
    );
  }
  return KEY.ok(`"${path}" is a key that ssh takes`);
}

const KNOWN = new Topic(
  'client.known_hosts',
  "it has the backup host's key; dialback does not trust a key on first use, and an account that can write this file can add its own host",
);

/**
 * @param path known_hosts
 * @param called where the call goes, and the name under which known_hosts has its key
 */
export async function collectKnownHosts(path: string, called: Called): Promise<Finding> {
  const quoted = quoteForShell(path);
  const line = `the line \`${called.knownAs} KEYTYPE KEY\`, with the key from the host's administrator`;
  if (!exists(path)) {
    return KNOWN.critical(
      `there is no "${path}"`,
      `dialback enroll on the host prints its key; put ${line}, into "${path}"`,
    );
  }
  const trust = checkTrust(KNOWN, path, ownAccount().uid, `"${path}"`);
  if (trust.state !== 'ok') return trust;
  if (!mayRead(path)) return KNOWN.critical(`this account may not read "${path}"`, `chmod 600 ${quoted}`);
  const { status: ended } = await run(standard('ssh-keygen', ['-F', called.knownAs, '-f', path]), {
    timeoutMs: PATIENCE_MS,
  });
  return ended === 0
    ? KNOWN.ok(`"${path}" has a key of "${escapeText(called.knownAs)}"`)
    : KNOWN.critical(
        `"${path}" has no key of "${escapeText(called.knownAs)}"`,
        `put ${line}, into "${path}"`,
      );
}
