/** The settings of ssh, as `ssh -G` prints them. Pure. */

/** The machine that ssh really connects to, after the config's ssh_options. */
export interface Called {
  hostName: string;
  port: number;
  /** The host's name in known_hosts (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT). */
  knownAs: string;
  /** Whether ssh goes through another program or machine. Then this machine may not reach the address itself. */
  isProxied: boolean;
}

/** Reads the output of `ssh -G`: one option a line, in lower case. @returns undefined where host or port are missing */
export function parseResolved(text: string): Called | undefined {
  const options = new Map(
    text.split('\n').map(line => {
      const [, key = '', value = ''] = /^(\S+) (.*)$/.exec(line) ?? [];
      return [key, value] as const;
    }),
  );
  const hostName = options.get('hostname');
  const port = Number(options.get('port'));
  if (!hostName || !Number.isInteger(port)) return undefined;
  const alias = options.get('hostkeyalias');
  const isProxied = ['proxycommand', 'proxyjump'].some(
    key => !['none', '', undefined].includes(options.get(key)),
  );
  return { hostName, port, knownAs: alias ?? (port === 22 ? hostName : `[${hostName}]:${port}`), isProxied };
}
