/**
 * The stage of a restore: a private folder inside DIR. All files are written and compared there before they are moved
 * into place. A killed restore leaves its stage. The next restore recognizes it by its mark and removes it, or
 * continues if the killed one had begun to move files.
 */
import { createHash } from 'node:crypto';
import { Fault } from '../fault.ts';
import { ownAccount } from '../os/account.ts';
import { readWhole } from '../os/content.ts';
import { lstat, makeUniqueFolder, readdir, removeAll, statusExact, whatFailed } from '../os/files.ts';
import { run, standard } from '../os/process.ts';
import { replaceFile } from '../os/replace.ts';
import { escapeText, NAME, SNAPSHOT } from '../wire/text.ts';

const PREFIX = '.dialback-restore-';
const STAGE = /^\.dialback-restore-[A-Za-z0-9]{6}$/;
const MARK = 'restore.json';
const MARK_LIMIT = 4096;
/** Changing the modes of a large tree takes long; Ctrl-C ends it. */
const TIMEOUT_MS = 14 * 86_400_000; // within the range of setTimeout
/** A writer that is being killed has exited after these retries; node waits 100 ms longer each time. */
const REMOVAL_RETRIES = 12;

/** The source of a restore. */
export interface Purpose {
  client: string;
  snapshot: string;
  /** Everything else that decides what is written, in any form. */
  details: string;
}

/** The content of a stage's mark. */
interface Mark {
  version: 1;
  /** A copy of the stage, for example from a backup of this machine, has another inode and is not a leftover. */
  inode: string;
  client: string;
  snapshot: string;
  /** SHA-256 of the whole purpose. */
  purpose: string;
  phase: 'copying' | 'moving' | 'merging';
  /** Whether the restore made DIR. */
  isTargetNew: boolean;
}

/** A stage in DIR. */
export class Stage {
  readonly path: string;
  #mark: Mark;

  private constructor(path: string, mark: Mark) {
    this.path = path;
    this.#mark = mark;
  }

  /** Makes a new stage. @param isTargetNew whether DIR was made for this restore */
  static make(to: string, purpose: Purpose, isTargetNew: boolean): Stage {
    const path = makeUniqueFolder(`${to}/${PREFIX}`);
    const { client, snapshot } = purpose;
    const mark: Mark = {
      version: 1,
      inode: String(statusExact(path).ino),
      client,
      snapshot,
      purpose: digestOf(purpose),
      phase: 'copying',
      isTargetNew,
    };
    const stage = new Stage(path, mark);
    stage.#write(mark);
    return stage;
  }

  /** Opens the stage of a killed restore. @returns undefined if the folder is not one */
  static open(path: string): Stage | undefined {
    try {
      const found = lstat(path);
      if (!found.isDirectory() || found.uid !== ownAccount().uid) return undefined;
      const mark = parseMark(readWhole(`${path}/${MARK}`, MARK_LIMIT).toString('utf8'));
      return mark?.inode === String(statusExact(path).ino) ? new Stage(path, mark) : undefined;
    } catch {
      return undefined;
    }
  }

  /** The folder for the restored files, at their paths below the snapshot's tree. */
  get tree(): string {
    return `${this.path}/tree`;
  }

  get isMoving(): boolean {
    return this.#mark.phase === 'moving';
  }

  get isTargetNew(): boolean {
    return this.#mark.isTargetNew;
  }

  get source(): string {
    return `${this.#mark.client}@${this.#mark.snapshot}`;
  }

  isOf(purpose: Purpose): boolean {
    return this.#mark.purpose === digestOf(purpose);
  }

  /**
   * Marks the stage as moving. From now on the next restore continues a killed one: each file is here or in its
   * place.
   */
  beginMoving(): void {
    this.#write({ ...this.#mark, phase: 'moving' });
  }

  /** Marks the stage as merging. From now on rsync can leave temporary files in DIR. */
  beginMerging(): void {
    this.#write({ ...this.#mark, phase: 'merging' });
  }

  get isMerging(): boolean {
    return this.#mark.phase === 'merging';
  }

  /** When the mark was written, in nanoseconds since 1970, by the clock of the file system. */
  get markedNs(): bigint {
    return statusExact(`${this.path}/${MARK}`).ctimeNs;
  }

  /**
   * Removes the stage. The mark goes last, so that a stage is still recognized if its removal was killed.
   *
   * An ordinary user cannot delete entries of a folder that was restored without the right to write. Only folders get
   * that right here: files can be links to files that are already in place.
   * @throws Fault when something cannot be removed
   */
  async remove(): Promise<void> {
    // -execdir starts chmod in the parent folder, so the length of the path does not matter.
    const find = [this.path, '-type', 'd', '!', '-perm', '-700', '-execdir', 'chmod', 'u+rwx', '{}', ';'];
    if (ownAccount().uid !== 0) await run(standard('find', find), { timeoutMs: TIMEOUT_MS });
    try {
      removeAll(this.tree, REMOVAL_RETRIES);
      removeAll(this.path, REMOVAL_RETRIES);
    } catch (error) {
      throw new Fault({
        tried: `remove "${escapeText(this.path)}"`,
        found: escapeText(whatFailed(error)),
        cause: error,
      });
    }
  }

  #write(mark: Mark): void {
    replaceFile(`${this.path}/${MARK}`, `${JSON.stringify(mark)}\n`);
    this.#mark = mark;
  }
}

function digestOf({ client, snapshot, details }: Purpose): string {
  return createHash('sha256')
    .update(JSON.stringify([client, snapshot, details]))
    .digest('hex');
}

/** Parses a stage's mark. @returns undefined if it is not one */
function parseMark(text: string): Mark | undefined {
  let found: unknown;
  try {
    found = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof found !== 'object' || found === null) return undefined;
  const mark = found as Record<keyof Mark, unknown>;
  const matches = (value: unknown, form: RegExp): boolean => typeof value === 'string' && form.test(value);
  const isWhole =
    mark.version === 1 &&
    matches(mark.inode, /^\d{1,20}$/) &&
    matches(mark.client, NAME) &&
    matches(mark.snapshot, SNAPSHOT) &&
    matches(mark.purpose, /^[0-9a-f]{64}$/) &&
    ['copying', 'moving', 'merging'].includes(String(mark.phase)) &&
    typeof mark.isTargetNew === 'boolean';
  return isWhole ? (found as Mark) : undefined;
}

/** Lists the stages that killed restores of this account left in DIR. */
export function findStages(to: string): Stage[] {
  return readdir(to).flatMap(name => (STAGE.test(name) ? (Stage.open(`${to}/${name}`) ?? []) : []));
}

/** Lists the names in DIR without the stages of killed restores. */
export function namesBesideStages(to: string): string[] {
  return readdir(to).filter(name => !STAGE.test(name) || !isLeftover(`${to}/${name}`));
}

function isLeftover(path: string): boolean {
  return Stage.open(path) !== undefined || isUnmarked(path);
}

/** A restore that was killed before it wrote its mark leaves a folder with nothing else in it. */
function isUnmarked(path: string): boolean {
  try {
    const found = lstat(path);
    const isOwn = found.isDirectory() && found.uid === ownAccount().uid;
    return isOwn && readdir(path).every(name => name.startsWith(`${MARK}.new-`));
  } catch {
    return false;
  }
}

/** Whether a restore has left a stage, or is writing into one now. */
export function hasLeftovers(to: string): boolean {
  return readdir(to).some(name => STAGE.test(name) && isLeftover(`${to}/${name}`));
}

/** Removes folders of killed restores that have no mark. */
export function removeUnmarked(to: string): void {
  for (const name of readdir(to))
    if (STAGE.test(name) && isUnmarked(`${to}/${name}`)) removeAll(`${to}/${name}`);
}
