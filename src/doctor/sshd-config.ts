/** The settings of the host's sshd_config that keep a client's key out, or that run another program for it. */

import { makeUniqueFolder, removeAll } from '../os/files.ts';
import { run, standard } from '../os/process.ts';
import { hasProgram } from '../os/programs.ts';
import { temporaryFolder } from '../os/scratch.ts';
import { escapeText, quoteForShell } from '../wire/text.ts';
import { type Finding, Topic } from './finding.ts';

const TOPIC = new Topic(
  'host.sshd_config',
  "a client cannot call if the system's sshd refuses its key, or runs another program for it",
);
const PATIENCE_MS = 10_000;
const CONFIG = '/etc/ssh/sshd_config';
/** The settings that can keep a key out, for an administrator who has to read the config (sshd_config(5)). */
const NAMES =
  'PubkeyAuthentication, AuthorizedKeysFile, AllowUsers, DenyUsers, AllowGroups, DenyGroups, PubkeyAcceptedAlgorithms, AuthenticationMethods, ForceCommand and ChrootDirectory';

/** The account that the clients log in to. */
interface KeyAccount {
  name: string;
  home: string;
}

/** The values of each keyword, in lower case; a keyword can have several. */
type Settings = ReadonlyMap<string, readonly string[]>;

/** Reads the output of `sshd -T`: a keyword and its value a line. */
export function parseSettings(text: string): Settings {
  const settings = new Map<string, string[]>();
  for (const line of text.split('\n')) {
    const [, key = '', value = ''] = /^(\S+) (.*)$/.exec(line) ?? [];
    if (key !== '') settings.set(key, [...(settings.get(key) ?? []), value]);
  }
  return settings;
}

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

/** Matches a pattern of sshd (ssh_config(5), PATTERNS). One with `!` never matches here. */
function matches(pattern: string, text: string): boolean {
  const escaped = pattern
    .replace(/[.+^${}()|[\]\\]/g, '\\$&')
    .replaceAll('*', '.*')
    .replaceAll('?', '.');
  return new RegExp(`^${escaped}$`).test(text);
}

/** Whether a list such as AllowUsers names the account, for any client address. */
const isNamed = (patterns: readonly string[], names: readonly string[]): boolean =>
  patterns
    .flatMap(each => each.split(/\s+/))
    .some(pattern => names.some(name => matches(pattern.split('@')[0] ?? '', name)));

/** The files in which sshd looks for the account's keys: it expands %h, %u and %%, and takes other paths as below the home folder. */
function keyFiles(values: readonly string[], { name, home }: KeyAccount): string[] {
  const expand = (path: string): string =>
    path.replace(/%([%hu])/g, (_, token: string) => (token === 'h' ? home : token === 'u' ? name : '%'));
  return values
    .flatMap(each => each.split(/\s+/))
    .filter(each => each !== '' && each !== 'none')
    .map(expand)
    .map(path => (path.startsWith('/') ? path : `${home}/${path}`));
}

/**
 * Finds the settings that keep a client's key out of an account, or from dialback.
 * @param groups of the account
 * @param keys the file that `enroll` writes
 * @returns each setting as sshd_config has it
 */
export function findObstacles(
  settings: Settings,
  account: KeyAccount,
  groups: readonly string[],
  keys: string,
): string[] {
  const all = (key: string): readonly string[] => settings.get(key) ?? [];
  const first = (key: string): string => all(key)[0] ?? '';
  const found: string[] = [];
  if (first('pubkeyauthentication') === 'no') found.push('PubkeyAuthentication no');
  const files = all('authorizedkeysfile');
  if (files.length > 0 && !keyFiles(files, account).includes(keys))
    found.push(`AuthorizedKeysFile ${files.join(' ')} (the keys are in "${keys}")`);
  found.push(...findLists(settings, account.name, groups));
  // Before OpenSSH 8.5 the setting had another name.
  const algorithms = first('pubkeyacceptedalgorithms') || first('pubkeyacceptedkeytypes');
  if (algorithms !== '' && !algorithms.split(',').some(each => matches(each, 'ssh-ed25519')))
    found.push('PubkeyAcceptedAlgorithms without ssh-ed25519');
  const methods = all('authenticationmethods').flatMap(each => each.split(/\s+/));
  if (methods.length > 0 && !methods.some(each => each === 'any' || each === 'publickey'))
    found.push(`AuthenticationMethods ${methods.join(' ')}`);
  for (const [key, word] of [
    ['forcecommand', 'ForceCommand'],
    ['chrootdirectory', 'ChrootDirectory'],
  ] as const)
    if (first(key) !== '' && first(key) !== 'none') found.push(`${word} ${first(key)}`);
  return found;
}

/** The lists of users and groups that exclude the account. An entry with an address denies only some clients, so it is left out. */
function findLists(settings: Settings, name: string, groups: readonly string[]): string[] {
  const found: string[] = [];
  for (const [key, word, names] of [
    ['users', 'Users', [name]],
    ['groups', 'Groups', groups],
  ] as const) {
    const [allowed, denied] = [settings.get(`allow${key}`) ?? [], settings.get(`deny${key}`) ?? []];
    const deniedEverywhere = denied.filter(each => !each.includes('@'));
    if (allowed.length > 0 && !isNamed(allowed, names)) found.push(`Allow${word} ${allowed.join(' ')}`);
    if (isNamed(deniedEverywhere, names)) found.push(`Deny${word} ${denied.join(' ')}`);
  }
  return found;
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
