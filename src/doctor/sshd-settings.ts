/** The settings of sshd, as `sshd -T` prints them, and those that keep a client's key out. Pure. */

/** The account that the clients log in to. */
export interface KeyAccount {
  name: string;
  home: string;
}

/** The values of each keyword, in lower case; a keyword can have several. */
export type Settings = ReadonlyMap<string, readonly string[]>;

/** Reads the output of `sshd -T`: a keyword and its value a line. */
export function parseSettings(text: string): Settings {
  const settings = new Map<string, string[]>();
  for (const line of text.split('\n')) {
    const [, key = '', value = ''] = /^(\S+) (.*)$/.exec(line) ?? [];
    if (key !== '') settings.set(key, [...(settings.get(key) ?? []), value]);
  }
  return settings;
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
