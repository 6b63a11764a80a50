/** The text of the client.toml that `init` writes. Pure. */
import type { Capability, Remote } from './config.ts';

const TRANSPORT_LINES: Record<Remote['transport'], string[]> = {
  direct: [
    '# Where the host connects back to. Default: any port. Name one where a firewall has to let it through.',
    '#listen = "[::]:8022"',
  ],
  channel: ['# Over the call itself: the host does not connect to this machine.', 'transport = "channel"'],
  local: [
    '# A store on a disk of this machine. Where that is absent: "fail", "skip" (say nothing) or "wait".',
    'transport = "local"',
    '#absent = "skip"',
  ],
};

const CAPABILITY_LINES: Record<Capability, string> = {
  confined: "# rsync reads every file, in the kernel's jail. Without the launcher there is no backup.",
  inherited:
    '# rsync reads every file, by a file capability of its own. This kernel has no Landlock, so there is no jail.',
  none: '# rsync reads what this account may read, without a jail.',
};

/** Writes the text of a config. */
export function clientToml(options: {
  name: string;
  target: string;
  /** Undefined with the transport `local`. */
  files: { identity: string; knownHosts: string } | undefined;
  transport: Remote['transport'];
  roots: string[];
  capability: Capability | undefined;
  /** A list of patterns. */
  excludeFrom?: string | undefined;
  /** The patterns of `exclude`, where they are not the usual ones. */
  exclude?: string[] | undefined;
}): string {
  const {
    name,
    target,
    files,
    transport,
    roots,
    capability,
    excludeFrom,
    exclude = ['.ssh/', '.cache/'],
  } = options;
  // JSON strings are TOML basic strings, except for DEL, which these paths cannot have.
  const quote = (text: string): string => JSON.stringify(text);
  return [
    '# client.toml, as `dialback init` wrote it. share/client.toml has all other keys, with their defaults.',
    `name = ${quote(name)}`,
    ...(capability ? [CAPABILITY_LINES[capability], `capability = ${quote(capability)}`] : []),
    '',
    '[[remote]]',
    `target = ${quote(target)}`,
    ...(files ? [`identity = ${quote(files.identity)}`, `known_hosts = ${quote(files.knownHosts)}`] : []),
    ...TRANSPORT_LINES[transport],
    '',
    '[scope]',
    `roots = [${roots.map(quote).join(', ')}]`,
    transport === 'local'
      ? '# The owner of the disk can read what is backed up. Leave out keys and passwords for other machines.'
      : '# The host can read what is backed up. Leave out keys and passwords for other machines.',
    `exclude = [${exclude.map(quote).join(', ')}]`,
    ...(excludeFrom === undefined
      ? []
      : ['# What a restored machine does not need.', `exclude_from = ${quote(excludeFrom)}`]),
    '',
    '[schedule]',
    '# For runs without a person: how long a host that cannot be reached is called again.',
    '#retry = "30m"',
    '',
  ].join('\n');
}
