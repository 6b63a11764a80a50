/** `dialback copy-store`: copies a store with all snapshots, or brings a copy up to date. */
import { resolve } from 'node:path';
import type { ExitName } from '../fault.ts';
import { jsonText } from '../output/json.ts';
import { showBytes } from '../output/units.ts';
import { CopyFolder } from '../store/copy-folder.ts';
import { CopyRemote, parseRemotePlace } from '../store/copy-remote.ts';
import { type CopiedClient, type CopiedStore, copyStore as copyWholeStore } from '../store/copy-store.ts';
import { isWell } from '../store/verify.ts';
import { escapeText } from '../wire/text.ts';
import { Arguments, type Command, JSON_OPTION } from './command.ts';
import { HOST_CONFIG, hostStore } from './host-store.ts';
import { damagedText, verifiedJson } from './verify.ts';

interface CopyRequest {
  to: string;
  config: string | undefined;
  dryRun: boolean;
  json: boolean;
}

export const copyStore: Command<CopyRequest> = {
  name: 'copy-store',
  usage: 'copy-store DIR|HOST:DIR [--dry-run] [--config F] [--json]',
  side: 'host',
  summary: 'copy the whole store, or bring a copy up to date; the same command resumes an interrupted copy',
  options: [HOST_CONFIG, { name: 'dry-run', help: 'copy nothing; show what would be copied' }, JSON_OPTION],
  positionals: [{ name: 'DIR|HOST:DIR' }],

  parse(words) {
    const given = new Arguments(copyStore, words);
    const [to = ''] = given.positionals;
    if (to === '') throw given.refuse('it takes one folder');
    return { to, config: given.path('config'), dryRun: given.has('dry-run'), json: given.has('json') };
  },

  async run({ to, config, dryRun, json }, io) {
    const store = hostStore(config);
    const interrupt = io.interruption();
    const remote = parseRemotePlace(to);
    const place = remote
      ? new CopyRemote(remote, io.environment.SSH_AUTH_SOCK, interrupt)
      : new CopyFolder(resolve(to), store);
    const isWatched = !json && io.isTerminal(2);
    const copied = await copyWholeStore({ store, place, dryRun }, interrupt, news => {
      if (isWatched) io.warn(`${news.client}: copying snapshot ${news.snapshot} of ${news.snapshots}\n`);
    });
    io.print(
      json ? jsonText({ ...copied, verified: copied.verified.map(verifiedJson) }) : copiedText(copied),
    );
    io.warn(failedText(copied) + damagedText(copied.verified));
    return exitOf(copied);
  },
};

function exitOf({ clients, verified }: CopiedStore): ExitName {
  if (!isWell(verified)) return 'failed';
  return clients.some(each => each.failed.length > 0) ? 'incomplete' : 'done';
}

/** A line for each client, and one for all. */
function copiedText({
  dry_run: isDry,
  to,
  clients,
  kept_clients: kept,
  verified,
  verified_by: by,
}: CopiedStore): string {
  const lines = clients.map(each => {
    const notes = notesOf(each).map(note => `; ${note}`);
    const bytes = isDry ? (each.needs_bytes ?? 0) : each.written_bytes;
    const did = isDry ? 'to copy' : 'copied';
    return `${each.client}: ${each.copied.length} snapshots ${did} (${showBytes(bytes)}), ${each.present} in the copy before${notes.join('')}\n`;
  });
  for (const name of kept) lines.push(`${name}: only in the copy, and stays there\n`);
  if (isDry) return lines.join('');
  const count = (pick: (each: { snapshots: string[]; made: string[] }) => string[]): number =>
    verified.reduce((sum, each) => sum + pick(each).length, 0);
  const made = count(each => each.made);
  const checks = [
    `${count(each => each.snapshots)} snapshots ${by === 'comparison' ? 'compared with the store' : 'verified'}`,
    ...(made > 0 ? [`${made} without a manifest to verify with`] : []),
  ].join(', ');
  return `${lines.join('')}copied to "${to}": ${checks}\n`;
}

function notesOf({ kept, removed, failed }: CopiedClient): string[] {
  return [
    ...(kept.length > 0 ? [`${kept.length} only in the copy, which stay there`] : []),
    ...(removed.length > 0 ? [`${removed.length} removed from the store meanwhile`] : []),
    ...(failed.length > 0 ? [`${failed.length} not copied`] : []),
  ];
}

function failedText({ clients }: CopiedStore): string {
  const lines = clients.flatMap(({ client, failed }) =>
    failed.map(({ snapshot, found }) => `  ${client}@${snapshot}: ${escapeText(found)}\n`),
  );
  if (lines.length === 0) return '';
  return [
    `dialback: Cannot copy ${lines.length} snapshots: they cannot be read or written whole\n`,
    ...lines,
    'next: dialback verify (it tells what is damaged)\n',
  ].join('');
}
