/**
 * A list of the scope with sizes and without content. Our own rsync makes the dry run of a pull from the sender of a backup. The
 * jail and the filter are those of a backup.
 */
import { setImmediate as breathe } from 'node:timers/promises';
import { Fault } from '../fault.ts';
import { makeFolder } from '../os/files.ts';
import { dropGarbage } from '../os/memory.ts';
import { type Child, type ExitResult, endingText } from '../os/process.ts';
import { eachLine } from '../os/records.ts';
import { type Listed, parseListed } from '../wire/listing.ts';
import { listArguments } from '../wire/rsync.ts';
import { RSYNC_EXIT, readComplaint } from '../wire/rsync-output.ts';
import { escapeText, type JsonName } from '../wire/text.ts';
import { type Exclude, scopeRecords } from './filter.ts';
import { startOwnPull } from './own-pull.ts';
import { type ChosenScope, type Sender, writeSenderFiles } from './prepared-sender.ts';
import { senderCommand, writeScope } from './sender.ts';
import type { LeftOutFolder } from './tag-rules.ts';

/** A sender that is ready to be asked. */
export interface Asked {
  chosen: ChosenScope;
  sender: Sender;
  /** The shared libraries of rsync. */
  libraries: string[];
  /** The private folder of this process. */
  folder: string;
  signal: AbortSignal;
}

/** Entries that rsync could not look at. */
export interface Unseen {
  /** The first ones, with the errno. */
  paths: { path: JsonName; errno: number | null }[];
  count: number;
}

const UNSEEN_KEPT = 100;
const WORDS_KEPT = 10;
const LINE_LIMIT = 16_384;

/**
 * Lists what a backup would read of some paths.
 * @param options.name six letters or digits, another one for each list of a process
 * @param options.excludes the patterns that are left out
 * @param options.tagged folders that are listed with their tag only
 * @param options.paths in the scope, as text
 * @param options.more further arguments of rsync
 * @param unseen receives entries that could not be looked at
 * @returns the entries of one portion after the other, in no order
 * @throws Fault where rsync fails; the signal's reason
 */
export async function* listScope(
  asked: Asked,
  options: {
    name: string;
    excludes: readonly Exclude[];
    tagged?: readonly LeftOutFolder[];
    paths: readonly string[];
    more?: readonly string[];
  },
  unseen: Unseen,
): AsyncGenerator<Listed[]> {
  const { signal } = asked;
  await using held = new AsyncDisposableStack();
  const { receiving, words } = await startList(held, asked, options);
  eachLine(receiving.stderr, LINE_LIMIT, line => takeComplaint(line, unseen, words));
  const abort = (): void => void receiving.end(500);
  signal.addEventListener('abort', abort, { once: true });
  held.defer(() => signal.removeEventListener('abort', abort));
  for await (const lines of linesOf(receiving)) {
    yield lines.flatMap(line => parseListed(line) ?? []);
    await breathe(); // the streams above give no turn to signals while there is data
  }
  const ending = await receiving.ended;
  signal.throwIfAborted();
  requireList(ending, words);
}

async function startList(
  held: AsyncDisposableStack,
  { chosen, sender, libraries, folder }: Asked,
  { name, excludes, tagged = [], paths, more }: Parameters<typeof listScope>[1],
): Promise<{ receiving: Child; words: string[] }> {
  const runFolder = `${folder}/run-${name}`; // the launcher accepts only a name of this form
  const tree = `${folder}/tree-${name}`;
  for (const path of [runFolder, tree]) makeFolder(path);
  writeScope(runFolder, scopeRecords(chosen.scope, libraries, sender.listsAll));
  writeSenderFiles(runFolder, chosen, sender, { compress: false, excludes, tagged });
  const { idleSeconds } = sender.daemon;
  const { serving, receiving } = await startOwnPull(held, {
    folder: runFolder,
    capability: chosen.capability,
    sender: senderCommand(runFolder, chosen.capability, 0),
    idleSeconds,
    receiver: shell => listArguments({ roots: paths, tree, shell, idleSeconds, ...(more ? { more } : {}) }),
  });
  const words: string[] = [];
  eachLine(serving.stderr, LINE_LIMIT, line => keep(line, words));
  return { receiving, words };
}

function keep(line: string, words: string[]): void {
  const isNews = line !== '' && !/^dialback-launch: landlock_abi /.test(line);
  if (isNews && words.length < WORDS_KEPT) words.push(escapeText(line));
}

function takeComplaint(line: string, unseen: Unseen, words: string[]): void {
  const complaint = readComplaint(line);
  if (complaint === undefined || 'vanished' in complaint) return;
  if ('missing' in complaint) {
    unseen.count += 1;
    if (unseen.paths.length < UNSEEN_KEPT) unseen.paths.push(complaint.missing);
  } else if ('ours' in complaint) keep(complaint.ours, words);
}

/** Splits the output at each line end, a portion at a time, one character a byte. */
async function* linesOf(child: Child): AsyncGenerator<string[]> {
  let rest = '';
  for await (const chunk of (child.stdout ?? []) as AsyncIterable<Buffer>) {
    dropGarbage();
    const lines = (rest + chunk.toString('latin1')).split('\n');
    rest = lines.pop() ?? '';
    yield lines;
  }
}

/** Some entries may be unreadable or vanish. Any other failure would make the list a wrong answer. */
function requireList(ending: ExitResult, words: string[]): void {
  const { status } = ending;
  if (status === 0 || status === RSYNC_EXIT.partial || status === RSYNC_EXIT.vanished) return;
  throw new Fault({
    tried: 'list the scope',
    found: words.length === 0 ? `rsync ${endingText(ending)}` : words.join(' | '),
    next: 'dialback doctor',
    code: 'rsync',
  });
}
