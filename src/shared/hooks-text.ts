/** The description of hooks, as data: `dialback help hooks` and the manual page dialback-hooks(7) are made of it. Pure. */

/** The variables that a hook gets, besides HOME, USER, LOGNAME, PATH and LC_ALL. */
export const HOOK_VARIABLES = {
  HOOK: 'before, after, failed or silent',
  SIDE: 'client or host',
  CLIENT: "the client's name",
  REMOTE: "on the client: the remote's name",
  OUTCOME: 'not before: full, incomplete, failed or silent',
  EXIT: 'after and failed: the exit status of the run without this hook',
  DURATION: 'after and failed: how long the run took, in seconds',
  SNAPSHOT: "after: the snapshot's name; silent: that of the last full one, if there is one",
  SNAPSHOT_PATH: "after, on the host: the snapshot's folder in the store; its files are in tree/",
  FILES: 'after: the number of files in the snapshot',
  BYTES: 'after: the bytes of these files',
  SENT_BYTES: 'after: the number of bytes that were sent',
  REASON: 'failed and silent: the reason in one line, as in the message (on the host: as in its journal)',
  MAX_AGE: "silent: the client's max_age, in seconds",
} as const;

/** A part of a text. Words in backquotes are code. */
export type Block =
  | { text: string }
  | { code: readonly string[] }
  | { items: readonly (readonly [string, string])[] };

/** A section of the description. */
export interface Section {
  title: string;
  blocks: readonly Block[];
}

/** A definition of hooks, to follow "Hooks:". */
export const HOOKS_SUMMARY =
  'your own programs that run before a backup, after a successful one, or after one that failed';

/** The hooks that `make install` installs, in share/dialback/hooks. */
const SAMPLE_HOOKS = {
  postgresql: 'dump PostgreSQL databases before a backup',
  mariadb: 'dump MariaDB and MySQL databases before a backup',
  sqlite: 'copy SQLite databases before a backup',
  'lvm-snapshot': 'back up a snapshot of an LVM volume',
  'btrfs-snapshot': 'back up a snapshot of a btrfs subvolume',
  packages: 'write the exclude list of packaged files before a backup',
  restic: 'store each snapshot of the host in a restic repository',
  rclone: 'store each snapshot of the host with rclone',
  healthchecks: 'tell healthchecks.io, or a server like it, how the run ended',
  ntfy: 'send a message by ntfy',
  'skip-on-battery': 'make no backup while the machine runs on its battery',
  'skip-on-metered': 'make no backup on a metered network connection',
} as const;

export const HOOK_SECTIONS: readonly Section[] = [
  {
    title: 'Configuration',
    blocks: [
      { text: 'In client.toml, in host.toml, or in both; each key is optional:' },
      {
        code: [
          '[hooks]',
          'before = "/etc/dialback/before"                    # a program',
          'after = ["/etc/dialback/told", "ok", "two words"]  # a program and its arguments; there is no shell',
          'failed = ["/etc/dialback/told", "not ok"]',
          'timeout = "10m"                                    # for each; the default',
        ],
      },
    ],
  },
  {
    title: 'When they run',
    blocks: [
      {
        text: 'The client runs them once for each run of a remote, before the first attempt and after the last. It does not run them for `--dry-run`, nor if another run of this client is active. The host runs them once for each run that it admits. It does not run them for a refused request or for `--dry-run`. On the host `before` may take 60 s at most, since the client waits 90 s for the host to begin. The others start when the client has received the outcome. Until they exit, the client cannot run again (exit 11).',
      },
      {
        text: 'On the host there is one more: `silent` runs when a client has had no full backup for `max_age` of host.toml, once until it has one again. `prune` and `metrics` run it after their own work, as the account that owns the store. If it fails, they run it again after an hour or later.',
      },
    ],
  },
  {
    title: 'Exit status',
    blocks: [
      { text: 'The exit status of `before` decides:' },
      {
        items: [
          ['0', 'The run begins.'],
          [
            '75',
            'The run is skipped: no message, exit status 0, `skipped` in the journal and in --json, and no other hook runs. On the host: the client may retry later (its exit status is 12).',
          ],
          [
            'other',
            'The run has failed, and `failed` runs; also after a signal or the timeout. The exit status is 1. On the host the client learns no more than that.',
          ],
        ],
      },
      {
        text: 'Once `before` has run, or would have run, exactly one of the other two runs, also after a signal or the deadline. Only if dialback itself is killed (SIGKILL, a power cut), none runs. `after` runs if there is a snapshot, incomplete or not; `failed` runs if there is none. If `after` fails, the snapshot stays, there is a message, and the exit status is 3. If `failed` fails, there is a message. On the host both messages go to its logs only.',
      },
    ],
  },
  {
    title: 'Permissions',
    blocks: [
      {
        text: 'An account that can write the program, or a folder above it, could do all that this account can. So only root and this account may be able to. Otherwise the run does not start (exit status 2); nor if the program does not exist.',
      },
    ],
  },
  {
    title: 'Environment',
    blocks: [
      {
        text: "A hook runs in the folder /, with empty standard input and no other descriptor, in a session of its own, without capabilities, as the account that runs dialback. After its timeout it and its children get SIGTERM, and 10 s later SIGKILL. `deadline` does not include the hooks. The output of a hook that failed is printed (the last 20 lines), and with -v always; on the host it goes to the client's journal. The other machine gets none of it.",
      },
      { text: 'Its variables are HOME, USER, LOGNAME, PATH, LC_ALL=C and:' },
      {
        items: Object.entries(HOOK_VARIABLES).map(([name, says]): [string, string] => [
          `DIALBACK_${name}`,
          says,
        ]),
      },
    ],
  },
  {
    title: 'Samples',
    blocks: [
      {
        text: 'An installation has ready hooks in share/dialback/hooks. The settings are explained at the beginning of each.',
      },
      { items: Object.entries(SAMPLE_HOOKS) },
    ],
  },
];

const WIDTH = 119;

/** The text of `dialback help hooks`. */
export function hooksHelp(): string {
  const sections = HOOK_SECTIONS.map(
    ({ title, blocks }) => `${title}\n\n${blocks.map(blockText).join('\n')}`,
  );
  return [`Hooks: ${HOOKS_SUMMARY}.\n`, ...sections].join('\n');
}

function blockText(block: Block): string {
  if ('text' in block) return wrapped(block.text, '', '');
  if ('code' in block) return block.code.map(line => `  ${line}\n`).join('');
  const width = Math.max(...block.items.map(([name]) => name.length)) + 2;
  return block.items
    .map(([name, text]) => wrapped(text, `  ${name.padEnd(width)}`, ' '.repeat(width + 2)))
    .join('');
}

/** @param first the beginning of the first line, @param other that of the others */
function wrapped(text: string, first: string, other: string): string {
  const lines: string[] = [];
  let line = first;
  for (const word of text.split(' ')) {
    const isNew = line === first || line === other;
    if (!isNew && line.length + 1 + word.length > WIDTH) {
      lines.push(line);
      line = other + word;
    } else line += isNew ? word : ` ${word}`;
  }
  return `${[...lines, line].join('\n')}\n`;
}
