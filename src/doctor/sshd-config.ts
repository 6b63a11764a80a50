/** The settings of the host's sshd_config that keep a client's key out, or that run another program for it. */

import { makeUniqueFolder, removeAll } from '../os/files.ts';
import { run, standard } from '../os/process.ts';
import { hasProgram } from '../os/programs.ts';
import { temporaryFolder } from '../os/scratch.ts';
import { escapeText, quoteForShell } from '../wire/text.ts';
import { type Finding, Topic } from './finding.ts';
import { findObstacles, type KeyAccount, parseSettings, type Settings } from './sshd-settings.ts';

const TOPIC = new Topic(
  'host.sshd_config',
  "a client cannot call if the system's sshd refuses its key, or runs another program for it",
);
const PATIENCE_MS = 10_000;
const CONFIG = '/etc/ssh/sshd_config';
/** The settings that can keep a key out, for an administrator who has to read the config (sshd_config(5)). */
const NAMES =
  'PubkeyAuthentication, AuthorizedKeysFile, AllowUsers, DenyUsers, AllowGroups, DenyGroups, PubkeyAcceptedAlgorithms, AuthenticationMethods, ForceCommand and ChrootDirectory';

/**
 * Reads the settings that are in effect for an account, as sshd itself reads its config (sshd(8), -T). sshd needs a host key that it can
 * read, so it gets a temporary one.
 * @param name the account
 * @param path sshd's config
 * @returns sshd's error message if it fails: this account may not be allowed to read the config
 */
async function readSettings(name: string, path: string): Promise<Settings | string> {
  const folder = makeUniqueFolder(`${temporaryFolder()}/dialback-doctor-`);
  try {
    const key = `${folder}/key`;
    await run(standard('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', '', '-f', key]), {
      timeoutMs: PATIENCE_MS,
    });
    const connection = `user=${name},host=localhost,addr=127.0.0.1`;
    const { status, stdout, stderr } = await run(
      standard('sshd', ['-T', '-f', path, '-h', key, '-C', connection]),
      {
        timeoutMs: PATIENCE_MS,
      },
    );
    if (status === 0) return parseSettings(stdout.toString('utf8'));
    return escapeText(stderr.trim().split('\n').at(-1) ?? '', 200);
  } finally {
    removeAll(folder);
  }
}

/**
 * Checks that sshd lets the clients' keys into the account.
 * @param keys the file that `enroll` writes
 * @param config sshd's config
 * @returns no finding if sshd or ssh-keygen is not installed
 */
export async function collectSshdConfig(
  account: KeyAccount,
  keys: string,
  config = CONFIG,
): Promise<Finding[]> {
  const { name } = account;
  if (!hasProgram('sshd') || !hasProgram('ssh-keygen')) return [];
  const settings = await readSettings(name, config);
  if (typeof settings === 'string')
    return [
      TOPIC.unknown(
        `this account cannot read the settings (${settings}): ${NAMES} can keep a client's key out`,
        // sshd needs this folder, which exists only while the service runs.
        `as root: mkdir -p /run/sshd && sshd -T -C user=${quoteForShell(name)},host=localhost,addr=127.0.0.1`,
      ),
    ];
  const { stdout } = await run(standard('id', ['-Gn', '--', name]), { timeoutMs: PATIENCE_MS });
  const groups = stdout.toString('utf8').trim().split(/\s+/);
  const obstacles = findObstacles(settings, account, groups, keys);
  if (obstacles.length === 0) return [TOPIC.ok(`it lets a client's key into "${name}"`)];
  return obstacles.map(each =>
    TOPIC.critical(
      `"${config}" keeps clients out of "${name}": ${escapeText(each)}`,
      `change it there for this account ("Match User ${name}"), and restart sshd`,
    ),
  );
}
