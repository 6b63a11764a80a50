/** The keys of the host's clients in authorized_keys. */

import { enrolledName } from '../host/authorized-keys.ts';
import type { HostConfig } from '../host/config.ts';
import { ownAccount } from '../os/account.ts';
import { readWhole } from '../os/content.ts';
import { ownExecutable } from '../os/executable.ts';
import { exists, realPath } from '../os/files.ts';
import { quoteForShell } from '../wire/text.ts';
import type { Finding } from './finding.ts';
import { checkLines, enrollStep, KEYS } from './key-lines.ts';
import { namesOfClients } from './store.ts';
import { checkTrust } from './trust.ts';

/** Where `enroll` writes the keys, and sshd reads them. */
export function authorizedKeysPath(): string {
  return `${ownAccount().home}/.ssh/authorized_keys`;
}

/** @throws Fault for a file that cannot be read or is larger than 16 MiB */
function readAuthorizedKeys(path: string): string[] {
  return readWhole(path, 16 * 1024 * 1024)
    .toString('utf8')
    .split('\n');
}

/** Whether authorized_keys has the key of a client; true for a file that cannot be read, which may have one. */
export function isAnyEnrolled(): boolean {
  const path = authorizedKeysPath();
  try {
    return readAuthorizedKeys(path).some(line => enrolledName(line) !== undefined);
  } catch {
    return exists(path);
  }
}

/** The finding for a store that only this machine uses. */
export function checkNotCalled(): Finding {
  return KEYS.ok('no key is enrolled: only this machine uses the store, without ssh');
}

/** @param configPath host.toml, as the lines name it */
export function collectKeys(config: HostConfig, configPath: string): Finding[] {
  const path = authorizedKeysPath();
  const clients = namesOfClients(config.store);
  let lines: string[];
  try {
    lines = readAuthorizedKeys(path);
  } catch (error) {
    return exists(path)
      ? [KEYS.fault(error, `chmod 600 ${quoteForShell(path)}`)]
      : [KEYS.warning(`no client is enrolled: there is no "${path}"`, enrollStep(clients))];
  }
  const trust = checkTrust(KEYS, path, ownAccount().uid, `"${path}"`);
  const findings = checkLines({
    path: realPath(path), // `sed -i` would replace a symbolic link with a file
    lines,
    clients,
    executable: ownExecutable(),
    config: realPath(configPath),
    allowsPlainKey: config.account_client !== undefined,
  });
  return trust.state === 'ok' ? findings : [trust, ...findings.filter(each => each.state !== 'ok')];
}
