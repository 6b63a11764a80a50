/** The steps of `dialback try`: two backups, the traces that they leave on the client, and a restore. */
import { EXIT, Fault } from '../../fault.ts';
import { ownAccount } from '../../os/account.ts';
import { readWhole } from '../../os/content.ts';
import { exists, readdir } from '../../os/files.ts';
import { PLAIN_ENVIRONMENT, run, standard } from '../../os/process.ts';
import { showBytes, showDuration } from '../../output/units.ts';
import { NANOSECONDS } from '../../wire/rsync.ts';
import { escapeText } from '../../wire/text.ts';
import { changeData } from './sample.ts';
import { dialback, must, NAME, type Stage } from './stage.ts';

/** The keys that are read of the last line of `backup --json`. */
interface Done {
  outcome: string;
  snapshot: string;
  files: number;
  bytes: number;
  transferred_bytes: number;
  duration_ms: number;
  missing_count: number;
}

const RUN_MS = 3_600_000;
/** A journal or a record of a snapshot is far shorter. */
const MOST_BYTES = 1024 * 1024;

export async function playRuns(stage: Stage): Promise<void> {
  await playFirstBackup(stage);
  const second = await playSecondBackup(stage);
  await playRestore(stage, second.files);
}

async function playFirstBackup(stage: Stage): Promise<void> {
  const { client, story } = stage;
  const first = await backUp(stage);
  story.step(
    'First backup',
    `The client made a one-time key, listened, and called; the host dialled back, was let in once, and read.\n${first.files} files, ${showBytes(first.bytes)}; ${showBytes(first.transferred_bytes)} sent, in ${showDuration(first.duration_ms)}.`,
  );
  const journal = readWhole(`${client.home}/state/journal.jsonl`, MOST_BYTES).toString('utf8');
  const grants = journal.split('\n').filter(line => line.includes('"event":"granted"')).length;
  const left = readdir(`${client.home}/state`).filter(name => name.startsWith('run-'));
  if (left.length > 0 || grants !== 1) {
    throw new Fault({
      tried: 'see the run over',
      found: `${grants} grants on record, left over: ${left.join(', ') || 'nothing'}`,
    });
  }
  story.step(
    'The traces that remain on the client',
    'No key, no listener, no sshd; one line in its journal: the host that read, the time and the command.',
  );
}

async function playSecondBackup(stage: Stage): Promise<Done> {
  const changed = await changeData(stage);
  const second = await backUp(stage);
  const file = `${stage.host.home}/store/clients/${NAME}/snapshots/${second.snapshot}/snapshot.json`;
  const { counts } = JSON.parse(readWhole(file, MOST_BYTES).toString('utf8')) as {
    counts: { linked: number; new: number; content_changed: number; attributes_changed: number };
  };
  stage.story.step(
    `Second backup, after ${changed}`,
    `${showBytes(second.transferred_bytes)} sent, in ${showDuration(second.duration_ms)}. The new snapshot is a whole tree too: ${counts.linked} of its files are\nhard links to the first one, ${counts.new} new, ${counts.content_changed} with other content, ${counts.attributes_changed} with other attributes.`,
  );
  return second;
}

async function playRestore(stage: Stage, files: number): Promise<void> {
  const { client, host, data } = stage;
  const target = stage.isRootUser ? `${stage.base}/restored` : `${client.home}/restored`;
  const args = ['restore', NAME, '--to', target, '--config', `${host.home}/host.toml`];
  const restored = await run(
    { program: stage.binary, args, environment: { ...PLAIN_ENVIRONMENT, HOME: ownAccount().home } },
    { signal: stage.signal, timeoutMs: RUN_MS },
  );
  // Without root, the folders above the data, which belong to others, are restored as our own: exit 3.
  const isGood = restored.status === EXIT.done || (!stage.isRootUser && restored.status === EXIT.incomplete);
  if (!isGood) throw new Fault({ tried: 'restore', found: escapeText(restored.stderr, 4000) });
  const differences = await compare(data, `${target}${data}`, stage.signal);
  if (differences !== '')
    throw new Fault({ tried: 'find the restored files equal', found: escapeText(differences, 4000) });
  const who = stage.isRootUser ? 'as root' : 'without root (folders above the data come back as our own)';
  stage.story.step(
    `Restored ${who}, and compared`,
    `${files} files: content, owners, modes, times, ACLs, xattrs, links: equal.`,
  );
}

/** Compares two trees with rsync: contents by checksum, every attribute, times to the nanosecond. @returns the differences */
async function compare(one: string, other: string, signal: AbortSignal): Promise<string> {
  const options = ['-n', '-i', '-aHAXS', '--numeric-ids', '--checksum', '--delete', NANOSECONDS];
  const rsync = standard('rsync', [...options, '--', `${one}/`, `${other}/`]);
  return (await must(rsync, 'compare', signal)).stdout.toString('latin1').trim();
}

async function backUp(stage: Stage): Promise<Done> {
  const args = ['backup', '--json', '--config', `${stage.client.home}/client.toml`];
  const result = await run(dialback(stage, stage.client, args), { signal: stage.signal, timeoutMs: RUN_MS });
  const last = result.stdout.toString('utf8').trim().split('\n').at(-1) ?? '';
  if (result.status === EXIT.done) return JSON.parse(last) as Done;
  const log = lastHostEntry(stage);
  const { error = last || result.stderr, next } = failureOf(last);
  const words = log === undefined ? '' : `; the host's journal says: ${escapeText(log, 2000)}`;
  throw new Fault({
    tried: 'back up',
    found: `${escapeText(error, 2000)}${words}`,
    ...(next ? { next } : {}),
  });
}

/** The last line of the host's journal; undefined where the host was never called. */
function lastHostEntry({ host }: Stage): string | undefined {
  const journal = `${host.home}/store/clients/${NAME}/journal.jsonl`;
  if (!exists(journal)) return undefined;
  return readWhole(journal, MOST_BYTES).toString('utf8').trim().split('\n').at(-1);
}

/** The reason and the next step in the last line of a run that failed. */
function failureOf(line: string): { error?: string; next?: string } {
  try {
    const { error, next } = JSON.parse(line) as Record<string, unknown>;
    return {
      ...(typeof error === 'string' ? { error } : {}),
      ...(typeof next === 'string' ? { next: escapeText(next, 2000) } : {}),
    };
  } catch {
    return {};
  }
}
