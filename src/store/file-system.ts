/** Tests what the store's file system can do: keep owners and modes, make hard links, keep times to the nanosecond. */
import {
  exists,
  fileFault,
  link,
  lstat,
  makeFolder,
  makeUniqueFolder,
  realPath,
  removeAll,
  setTimes,
  statusExact,
  symlink,
} from '../os/files.ts';
import { mountOf, mountTable } from '../os/mounts.ts';
import { endingText, run, standard } from '../os/process.ts';
import { hasProgram } from '../os/programs.ts';
import { writeNew } from '../os/replace.ts';
import { escapeText } from '../wire/text.ts';
import { SECOND_NS } from './file-time.ts';

const PATIENCE_MS = 10_000;
const MILLISECOND_NS = SECOND_NS / 1000n;
/** In the year 2100. */
const LATE_S = 4_102_444_800;
/**
 * In the year 1960. CephFS keeps seconds without a sign, and gives back the year 2096. A Date, because node takes a negative number for
 * the present time.
 */
const EARLY = new Date('1960-02-01T00:00:00Z');

/** The result of the test. */
export interface Probe {
  type: string;
  /** Why owners, modes and types cannot be kept, in rsync's words; undefined if they can. */
  xattrs: string | undefined;
  links: string | undefined;
  /** Whether a time came back to the nanosecond. */
  hasNanoseconds: boolean;
  /** Whether a time after 2038 came back unchanged. ext4 with small inodes and XFS without bigtime end there. */
  hasLateTimes: boolean;
  /** Whether a time before 1970 came back unchanged. */
  hasEarlyTimes: boolean;
}

/**
 * Does in a private folder below `parent` what a run does in a store, and removes the folder. rsync itself writes a
 * symlink in fake-super form, which needs user xattrs.
 * @throws Fault when the folder cannot be made or written to
 */
export async function probeFileSystem(parent: string): Promise<Probe> {
  const table = mountTable();
  const type = mountOf(table, realPath(parent))?.type ?? 'unknown';
  const folder = makeUniqueFolder(`${parent}/.doctor-`);
  try {
    makeFolder(`${folder}/from`);
    makeFolder(`${folder}/to`);
    writeNew(`${folder}/file`, '');
    const xattrs = await tryXattrs(folder);
    const links = tryLinking(`${folder}/file`, `${folder}/twin`);
    setTimes(`${folder}/file`, 1, 1.123456789);
    const hasNanoseconds = Number(statusExact(`${folder}/file`).mtimeNs % SECOND_NS) > 123_456_000;
    setTimes(`${folder}/file`, 1, LATE_S);
    const hasLateTimes = statusExact(`${folder}/file`).mtimeNs === BigInt(LATE_S) * SECOND_NS;
    setTimes(`${folder}/file`, 1, EARLY);
    const hasEarlyTimes = statusExact(`${folder}/file`).mtimeNs === BigInt(EARLY.getTime()) * MILLISECOND_NS;
    return { type, xattrs, links, hasNanoseconds, hasLateTimes, hasEarlyTimes };
  } catch (error) {
    throw fileFault(error, `test the store "${parent}"`);
  } finally {
    removeAll(folder);
  }
}

function tryLinking(from: string, to: string): string | undefined {
  try {
    link(from, to);
    return lstat(from).nlink === 2 ? undefined : 'a hard link does not raise the link count';
  } catch (error) {
    return fileFault(error, 'link').found;
  }
}

async function tryXattrs(folder: string): Promise<string | undefined> {
  if (!hasProgram('rsync')) return undefined; // another check reports that
  try {
    symlink('nowhere', `${folder}/from/link`);
  } catch (error) {
    return `no symlinks (${fileFault(error, 'link').found})`;
  }
  const args = ['--links', '--fake-super', '--', `${folder}/from/link`, `${folder}/to/`];
  const ended = await run(standard('rsync', args), { timeoutMs: PATIENCE_MS });
  const isKept = ended.status === 0 && exists(`${folder}/to/link`) && lstat(`${folder}/to/link`).isFile();
  return isKept ? undefined : escapeText(ended.stderr.trim().split('\n')[0] || endingText(ended), 200);
}
