/** `dialback verify`: reads snapshots back and names the files that are not as they were stored. */
import { DAMAGES } from '../output/damage.ts';
import { failedClientsText } from '../output/failed-clients.ts';
import { jsonText } from '../output/json.ts';
import { manifestPath } from '../output/path.ts';
import { openProgressLine } from '../output/progress.ts';
import { moreText } from '../output/table.ts';
import { showBytes } from '../output/units.ts';
import { COPY_AGAIN, LOST_ATTRIBUTES } from '../store/lost-attributes.ts';
import { isWell, type Verified, type VerifyOptions, verify as verifyStore } from '../store/verify.ts';
import { escapeText, showName } from '../wire/text.ts';
import { Arguments, type Command, type Io, JSON_OPTION } from './command.ts';
import { HOST_CONFIG, hostStore } from './host-store.ts';

interface VerifyRequest {
  client: string | undefined;
  snapshot: string | undefined;
  /** Percent. */
  sample: number;
  config: string | undefined;
  json: boolean;
}

export const verify: Command<VerifyRequest> = {
  name: 'verify',
  usage: 'verify [NAME[@SNAPSHOT]] [--sample 5%] [--config F] [--json]',
  side: 'host',
  summary: 'read snapshots back, all or a part of the files, and name those that are not as they were stored',
  options: [
    {
      name: 'sample',
      value: 'PERCENT',
      help: 'read this part of the files, such as 5%; another part each time',
    },
    HOST_CONFIG,
    JSON_OPTION,
  ],
  positionals: [{ name: 'NAME[@SNAPSHOT]', isOptional: true }],

  parse(words) {
    const given = new Arguments(verify, words);
    const [client, ...snapshot] = (given.positionals[0] ?? '').split('@');
    const sample = /^(\d{1,3})%$/.exec(given.text('sample') ?? '100%')?.[1];
    if (sample === undefined || Number(sample) < 1 || Number(sample) > 100)
      throw given.refuse('--sample should be a part such as "5%", from 1% to 100%');
    return {
      client: client === '' ? undefined : client,
      snapshot: snapshot.length > 0 ? snapshot.join('@') : undefined,
      sample: Number(sample),
      config: given.path('config'),
      json: given.has('json'),
    };
  },

  async run(request, io) {
    const options = { ...request, store: hostStore(request.config) };
    const results = await showProgress(options, request.json, io);
    io.print(request.json ? jsonText(results.map(verifiedJson)) : verifiedText(results));
    if (!request.json) io.print(results.map(doubtfulText).join(''));
    io.warn(damagedText(results) + failedClientsText('verify', results));
    return isWell(results) ? 'done' : 'failed';
  },
};

/** The progress line is gone before anything else is printed. */
async function showProgress(options: VerifyOptions, json: boolean, io: Io): Promise<Verified[]> {
  const interrupt = io.interruption();
  using line = json ? undefined : openProgressLine(io.environment, interrupt);
  return await verifyStore(options, interrupt, line && (each => line.hearVerify(each)));
}

export function verifiedJson(result: Verified): object {
  const damaged = result.damaged.map(each => ({ ...each, path: manifestPath(each.path) }));
  const doubtful = result.doubtful.map(each => ({ ...each, paths: each.paths.map(manifestPath) }));
  return { ...result, damaged, doubtful };
}

/** A line for each client. */
function verifiedText(results: Verified[]): string {
  const lines = results.map(each => {
    if (each.failed !== null) return `${each.client}: not verified\n`;
    const part = each.sample < 100 ? ` (a sample of ${Math.round(each.sample)}%)` : '';
    const damaged = each.damaged_count + each.records.length;
    const notes = notesOf(each).map(note => `; ${note}`);
    return `${each.client}: ${each.snapshots.length} snapshots verified${part}, ${each.names} names, ${each.files_read} files (${showBytes(each.bytes_read)}) read, ${damaged} damaged${notes.join('')}\n`;
  });
  return lines.join('');
}

function notesOf({ resumed, made, unmade, unrecorded }: Verified): string[] {
  return [
    ...(resumed ? ['continued a verification that was interrupted'] : []),
    ...(made.length > 0 ? [`made the manifest of ${made.join(', ')}: not verified yet`] : []),
    ...(unmade.length > 0
      ? [
          unrecorded === null
            ? `the manifest of ${unmade.join(', ')} is being made: not verified yet`
            : `${unmade.join(', ')} not verified: there is no manifest, and none can be written`,
        ]
      : []),
    ...(unrecorded === null ? [] : [`the store keeps no record of this: ${unrecorded}`]),
  ];
}

/** Names of doubtful files that are printed. */
const DOUBTFUL_SHOWN = 10;

/** The files that the next backup compares with the client, since a power cut may have emptied them. */
function doubtfulText({ client, doubtful }: Verified): string {
  return doubtful
    .map(({ snapshot, count, paths }) => {
      const shown = paths.slice(0, DOUBTFUL_SHOWN);
      return [
        `${client}@${snapshot}: ${count} files are sparse or end in zeros. They are so on the client, or a power cut of this host destroyed their data. The next backup of ${client} compares them.\n`,
        ...shown.map(path => `  ${showName(manifestPath(path))}\n`),
        moreText(count, shown),
      ].join('');
    })
    .join('');
}

/** A line for each damaged file and each record that cannot be used. */
export function damagedText(results: Verified[]): string {
  const lines = results.flatMap(({ client, damaged, damaged_count: count, records }) => [
    ...damaged.map(({ path, differences, snapshots }) => {
      const what = differences.map(each => DAMAGES[each]).join(', ');
      return `  ${client}: ${showName(manifestPath(path))}: ${what}; in ${snapshots.join(', ')}\n`;
    }),
    ...(count > damaged.length ? [`  ${client}: and ${count - damaged.length} more\n`] : []),
    ...records.map(
      ({ snapshot, name, found }) => `  ${client}: ${name} of ${snapshot}: ${escapeText(found)}\n`,
    ),
  ]);
  if (lines.length === 0) return '';
  const total = results.reduce((sum, each) => sum + each.damaged_count + each.records.length, 0);
  const hasLost = results.some(each => each.records.some(({ found }) => found === LOST_ATTRIBUTES));
  return [
    `dialback: Cannot confirm that the store is intact: ${total} damaged\n`,
    ...lines,
    `next: ${hasLost ? COPY_AGAIN : 'look at the disk (smartctl -a, dmesg), and restore these files from a snapshot or a machine that still has them undamaged'}\n`,
  ].join('');
}
