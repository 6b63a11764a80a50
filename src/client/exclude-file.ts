/**
 * The changes of the exclude list by `weigh --exclude` and `--undo`. A change is a block of lines at the end of the account's own
 * file. A comment above them says how many lines belong to it.
 */
import { Fault } from '../fault.ts';
import { showPath } from '../os/byte-path.ts';
import { now } from '../os/clock.ts';
import { readWhole } from '../os/content.ts';
import { exists, fileFault, lstat, realPath, removeFileIfThere, stat, writeFile } from '../os/files.ts';
import { run, standard } from '../os/process.ts';
import { replaceFile, settleFile } from '../os/replace.ts';
import { takeLock } from '../os/runfolder.ts';
import { escapeText } from '../wire/text.ts';
import { type ClientConfig, excludeFiles } from './config.ts';
import { parseExcludes } from './filter.ts';
import { isPackageList } from './package-list.ts';
import { EXCLUDES_BYTES } from './scope.ts';

/** A change of the exclude list. */
export interface ExcludeChange {
  file: string;
  /** The lines that were added or removed, without the comment; bytes. */
  lines: string[];
  /** The change as diff(1) prints it, escaped; '' where there is none. */
  diff: string;
}

const HEAD = /^# dialback weigh --exclude, \S+: (\d{1,5}) lines?$/;
const LOCK_WAIT_SECONDS = 15;

/**
 * A pattern that matches only a path. The list has a pattern a line, so `?` stands for a control character.
 * @param path absolute, bytes
 */
export function excludePattern(path: string, isFolder: boolean): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is replaced
  const isWild = /[*?[\u0000-\u001f\u007f]/.test(path);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the same
  const exact = isWild ? path.replace(/[\\*?[]/g, '\\$&').replace(/[\u0000-\u001f\u007f]/g, '?') : path;
  return isFolder ? `${exact}/` : exact;
}

/**
 * Appends patterns to the last file of `exclude_from`. The file keeps its mode, owner and access list. A reader sees the old
 * content or the new one.
 * @param state the state folder, which has the lock
 * @throws Fault where there is no such file in the config, or this account cannot replace it
 */
export async function appendPatterns(
  config: ClientConfig,
  state: string,
  patterns: readonly string[],
): Promise<ExcludeChange> {
  const file = ownFile(config);
  await using held = new AsyncDisposableStack();
  await lockList(held, state, file);
  const old = readList(file);
  const known = new Set(old.split('\n'));
  const lines = [...new Set(patterns)].filter(each => !known.has(each));
  if (lines.length === 0) return { file, lines, diff: '' };
  const count = `${lines.length} ${lines.length === 1 ? 'line' : 'lines'}`;
  const block = [`# dialback weigh --exclude, ${now().toISOString().slice(0, 19)}Z: ${count}`, ...lines];
  const begin = old === '' || old.endsWith('\n') ? old : `${old}\n`;
  const content = `${begin}${block.map(line => `${line}\n`).join('')}`;
  // Before a run would refuse the list.
  parseExcludes(content.split(/\r?\n/), `"${file}"`);
  await replaceList(file, content);
  const at = countLines(begin);
  return { file, lines, diff: diffText(file, `@@ -${at},0 +${at + 1},${block.length} @@`, '+', block) };
}

/**
 * Removes the last block that `appendPatterns()` has added.
 * @throws Fault where there is none, or its lines are not complete any more
 */
export async function removeLastPatterns(config: ClientConfig, state: string): Promise<ExcludeChange> {
  const file = ownFile(config);
  await using held = new AsyncDisposableStack();
  await lockList(held, state, file);
  const all = readList(file).split('\n');
  const at = all.findLastIndex(line => HEAD.test(line));
  const refuse = (found: string): Fault =>
    new Fault({ tried: `take the last change of "${escapeText(file)}" back`, found, exit: 'usage' });
  if (at === -1) throw refuse('`weigh --exclude` has added no lines that are still there');
  const count = Number(HEAD.exec(all[at] ?? '')?.[1]);
  const lines = all.slice(at + 1, at + 1 + count);
  if (lines.length < count || lines.some(line => line === '' || /^[#;]/.test(line)))
    throw refuse(`its ${count} lines were changed since; remove them by hand`);
  const block = all.slice(at, at + 1 + count);
  await replaceList(file, [...all.slice(0, at), ...all.slice(at + 1 + count)].join('\n'));
  return { file, lines, diff: diffText(file, `@@ -${at + 1},${block.length} +${at},0 @@`, '-', block) };
}

/** The file that is changed. @throws Fault where the config names none */
function ownFile(config: ClientConfig): string {
  // `packages --write` replaces its list.
  const file = excludeFiles(config).findLast(each => !isPackageList(readList(each)));
  if (file !== undefined) return exists(file) ? realPath(file) : file;
  throw new Fault({
    tried: 'change the exclude list',
    found: 'client.toml names no file for it',
    next: 'set `exclude_from` in client.toml, for example to "~/.config/dialback/excludes"; the file is made then',
    exit: 'usage',
  });
}

async function lockList(held: AsyncDisposableStack, state: string, file: string): Promise<void> {
  if ((await takeLock(held, `${state}/excludes.lock`, LOCK_WAIT_SECONDS)) !== undefined) return;
  throw new Fault({
    tried: `change "${escapeText(file)}"`,
    found: 'another change is under way',
    exit: 'locked',
  });
}

function readList(file: string): string {
  return exists(file) ? readWhole(file, EXCLUDES_BYTES).toString('latin1') : '';
}

/** Replaces the file by a copy with the same attributes, which cp(1) makes. @throws Fault where this account cannot do that */
async function replaceList(file: string, text: string): Promise<void> {
  const content = Buffer.from(text, 'latin1');
  if (!exists(file)) return replaceFile(file, content, 0o644);
  const fresh = `${file}.new-${process.pid}`;
  try {
    const words = ['--preserve=mode,ownership,xattr', '--no-target-directory', '--', file, fresh];
    const copied = await run(standard('cp', words));
    if (copied.status !== 0) throw refused(file, copied.stderr.trim().replace(/^[^:]*cp: /, ''));
    const [before, after] = [stat(file), lstat(fresh)];
    if (before.uid !== after.uid || before.gid !== after.gid)
      throw refused(
        file,
        `it belongs to uid ${before.uid} and gid ${before.gid}, which a new file cannot keep`,
      );
    writeFile(fresh, content, { flag: 'w', flush: true });
    settleFile(fresh, file);
  } catch (error) {
    removeFileIfThere(fresh);
    throw error instanceof Fault ? error : fileFault(error, `write "${file}"`);
  }
}

function refused(file: string, found: string): Fault {
  return new Fault({
    tried: `replace "${escapeText(file)}"`,
    found: escapeText(found),
    next: 'add a file of this account to the list `exclude_from` in client.toml, as its last one',
  });
}

function diffText(file: string, place: string, sign: '+' | '-', block: readonly string[]): string {
  const name = escapeText(file);
  return [`--- ${name}`, `+++ ${name}`, place, ...block.map(line => `${sign}${showPath(line)}`)]
    .map(line => `${line}\n`)
    .join('');
}

function countLines(text: string): number {
  return text.split('\n').length - 1;
}
