// The texts of dialback(1) that are not made from the program.

/** Paragraphs. */
export const DESCRIPTION = [
  'dialback backs up Linux machines over ssh and rsync, between two machines that need not trust each other. The client calls its backup host. The host connects back once, reads what the client allows, and disconnects. Where the host cannot connect to the client, the backup goes over the call itself.',
  'Each backup is a snapshot: a complete tree of files, in which unchanged files are hard links to an older snapshot. The key of a client can only ask for a backup of this client. The host has no permanent access to the client.',
  'One executable serves both machines. The sections below say on which machine a command runs.',
];

/** Arguments that several commands have. */
export const ARGUMENTS: readonly (readonly [string, string])[] = [
  ['NAME', 'The name of a client.'],
  [
    'SNAPSHOT',
    'The time that `list` shows, the beginning of it, or `latest`, the newest full one. Without it, `latest` is used.',
  ],
  ['A', 'A snapshot, as SNAPSHOT; B is one of the same client.'],
  ['PATH', 'An absolute path, as it was on the client.'],
  ['DIR', 'A folder of this machine.'],
  [
    'F',
    'A file of this machine. With `--config` it is client.toml or host.toml; without this option the one in ~/.config/dialback is used, or else the one in /etc/dialback.',
  ],
];

/** Paragraphs on all command lines. */
export const RULES = [
  '`dialback help COMMAND` and `dialback COMMAND --help` show one command with its options. A word `--` ends the options.',
];

/** Files that a person meets. */
export const FILES: readonly (readonly [string, string])[] = [
  ['~/.config/dialback', 'The configs of an account, and the key that `init` makes. See dialback.toml(5).'],
  [
    '/etc/dialback',
    'The configs of the system, samples with every key, an exclude list, and `never`, the paths that no backup may contain.',
  ],
  [
    '~/.local/state/dialback',
    'The state folder of a client: locks, one-time keys of active runs, and journal.jsonl, the record of each run.',
  ],
  ['~/dialback-store', 'The store of a backup host, unless host.toml names another folder.'],
];

/** A text, and the commands that it is about. */
export const EXAMPLES: readonly (readonly [string, readonly string[]])[] = [
  [
    'Set a client up. Each command prints the next one:',
    [
      'client$ dialback init',
      "host$ echo 'KEY' | dialback enroll laptop -",
      "client$ dialback init --name laptop --target dialback@backup.example.org --host-key 'KEY'",
      'client$ dialback backup',
    ],
  ],
  [
    'Look at the snapshots, and restore a folder:',
    ['host# dialback list laptop', 'host# dialback restore laptop /home/anna/docs --to /root/restored'],
  ],
  ['Find the cause when something is wrong:', ['dialback doctor']],
];
