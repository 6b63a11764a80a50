/** `dialback status`: how old and how large the backups are, and which problems there are; for monitoring. */
import { storeSettings } from '../host/config.ts';
import { jsonText } from '../output/json.ts';
import { table } from '../output/table.ts';
import { showAge, showBytes } from '../output/units.ts';
import { areAlarming, failuresText } from '../store/health.ts';
import { type ClientStatus, statusExit, statusOf } from '../store/status.ts';
import { parseDuration } from '../wire/quantity.ts';
import { escapeText } from '../wire/text.ts';
import { Arguments, type Command, exitName, JSON_OPTION } from './command.ts';
import { HOST_CONFIG, hostConfig } from './host-store.ts';

interface StatusRequest {
  name: string | undefined;
  maxAgeMs: number | undefined;
  config: string | undefined;
  json: boolean;
}

export const status: Command<StatusRequest> = {
  name: 'status',
  usage: 'status [NAME] [--max-age 36h] [--config F] [--json]',
  side: 'host',
  summary: 'show the age, the size and the problems of the backups; for monitoring',
  options: [
    {
      name: 'max-age',
      value: 'TIME',
      help: 'an older last full snapshot is critical, as after max_age of host.toml; without both, 36h',
    },
    HOST_CONFIG,
    JSON_OPTION,
  ],
  positionals: [{ name: 'NAME', isOptional: true }],

  parse(words) {
    const given = new Arguments(status, words);
    const text = given.text('max-age');
    const maxAgeMs = text === undefined ? undefined : parseDuration(text);
    if (text !== undefined && maxAgeMs === undefined)
      throw given.refuse(`--max-age is "${escapeText(text, 60)}", and should be a time such as "36h"`);
    return {
      name: given.positionals[0],
      maxAgeMs,
      config: given.path('config'),
      json: given.has('json'),
    };
  },

  async run({ name, maxAgeMs, config, json }, io) {
    const settings = storeSettings(hostConfig(config));
    const clients = await statusOf(settings, name, maxAgeMs, io.interruption());
    io.print(json ? jsonText(clients) : statusText(clients));
    // The numbers are those of a monitoring plugin: 0 ok, 1 warning, 2 critical.
    return exitName(statusExit(clients));
  },
};

const TITLES = [
  'state',
  'client',
  'last full',
  'age',
  'size',
  'new',
  'snapshots',
  'on disk',
  'verified',
  'drilled',
  'next removal',
];

/** A table. Below it, the problems of all clients, then the lines that are no problems: share/monitoring/uptime-kuma takes the first. */
function statusText(clients: ClientStatus[]): string {
  if (clients.length === 0) return 'there is no client yet\n';
  const cells = clients.map(each => [
    each.level,
    each.client,
    each.last_full ? each.last_full.snapshot : 'none',
    each.last_full ? showAge(each.last_full.age_ms) : '-',
    each.last_full ? showBytes(each.last_full.bytes) : '-',
    each.last_full ? showBytes(each.last_full.new_bytes) : '-',
    `${each.snapshots}${each.pinned.length > 0 ? ` (${each.pinned.length} pinned)` : ''}`,
    each.held ? showBytes(each.held.bytes) : '?',
    each.last_verify ? each.last_verify.at.slice(0, 10) : 'never',
    each.last_drill?.succeeded?.slice(0, 10) ?? 'never',
    each.next_removal ? `${each.next_removal.snapshot} on ${each.next_removal.at.slice(0, 10)}` : 'none',
  ]);
  return `${table(TITLES, cells, [3, 4, 5, 6, 7])}${clients.flatMap(problemLines).join('')}${clients.flatMap(otherLines).join('')}`;
}

function problemLines({ client, problems }: ClientStatus): string[] {
  return problems.map(each => `${client}: ${escapeText(each)}\n`);
}

function otherLines({ client, failures, retired, kept, moved, shared }: ClientStatus): string[] {
  return [
    ...(retired === null ? [] : [`${client}: retired: unenrolled at ${retired}${keptText(kept)}\n`]),
    // A few failed runs are no alarm, but they are shown.
    ...(failures === null || areAlarming(failures) || retired !== null
      ? []
      : [`${client}: ${escapeText(failuresText(failures))}\n`]),
    ...(moved.files > 0
      ? [`${client}: moved files that are stored only once: ${moved.files}, ${showBytes(moved.bytes)}\n`]
      : []),
    ...(shared.files > 0
      ? [`${client}: files that share blocks with older ones: ${shared.files}, ${showBytes(shared.bytes)}\n`]
      : []),
  ];
}

function keptText(kept: ClientStatus['kept']): string {
  if (kept === null) return '';
  return kept.until === null
    ? '; all its snapshots are kept, without an end'
    : `; all its snapshots are kept until ${kept.until}`;
}
