/** The rsync that serves an offer: a daemon on the client's call, in the jail of `serve` if the launcher is installed. */
import { ownAccount } from '../os/account.ts';
import { makeFolder, realPath } from '../os/files.ts';
import { jailCommand } from '../os/launcher.ts';
import { type ExitResult, PLAIN_ENVIRONMENT, start } from '../os/process.ts';
import { programPath } from '../os/programs.ts';
import { eachLine } from '../os/records.ts';
import { writeNew } from '../os/replace.ts';
import {
  type DisposableHolder,
  defaultStateFolder,
  makeRunFolder,
  prepareStateFolder,
} from '../os/runfolder.ts';
import { rsyncKnows } from '../os/versions.ts';
import { offerConfig, offerFilter } from '../wire/fetch-rsync.ts';
import { daemonArguments, INSECURE_LINKS, listedRoots } from '../wire/rsync.ts';
import { decodeName, escapeText } from '../wire/text.ts';

const LINE_LENGTH = 400;
const LINES_KEPT = 20;

/** The served part of a tree. */
interface ServedTree {
  tree: string;
  /** Below the tree; empty: all of it. */
  paths: Buffer[];
  confined: boolean;
}

/** The connection, as descriptors for rsync. */
interface Ends {
  reading: number;
  writing: number;
  letGo: () => void;
}

/**
 * Starts rsync with the client's connection. It is killed when `held` is released.
 * @returns its end, and the first lines of its standard error, escaped
 * @throws Fault where it cannot be started
 */
export async function startServing(
  held: DisposableHolder,
  served: ServedTree,
  ends: Ends,
): Promise<{ ended: Promise<ExitResult>; lines: string[] }> {
  const state = defaultStateFolder(ownAccount());
  prepareStateFolder(state);
  const run = await makeRunFolder(held, state);
  // The jail allows real paths: the store's path may lead through a symbolic link.
  const real = { ...served, tree: realPath(served.tree) };
  const config = writeConfig(run, real);
  if (served.confined) {
    const listsAbove = !(await rsyncKnows(INSECURE_LINKS));
    writeNew(`${run}/paths`, serveRecords(real.tree, served.paths, listsAbove));
  }
  const plain = {
    program: programPath('rsync'),
    args: daemonArguments(config, 0),
    environment: PLAIN_ENVIRONMENT,
  };
  const command = served.confined ? jailCommand(['serve', real.tree, run]) : plain;
  const rsync = await start({ ...command, endedFirst: true }, [ends.reading, ends.writing, 'pipe']);
  held.defer(() => rsync.end(1000));
  ends.letGo();
  const lines: string[] = [];
  eachLine(rsync.stderr, 4000, line => {
    if (lines.length < LINES_KEPT && line !== '') lines.push(escapeText(line, LINE_LENGTH));
  });
  return { ended: rsync.ended, lines };
}

/** Writes what rsync reads into the run folder: its config and its filter. */
function writeConfig(run: string, { tree, paths, confined }: ServedTree): string {
  const folder = `${run}/rsyncd`;
  makeFolder(folder);
  const config = `${folder}/rsyncd.conf`;
  const filter = `${folder}/filter`;
  const inBytes = paths.map(path => path.toString('latin1'));
  writeNew(filter, Buffer.from(offerFilter(Buffer.from(tree).toString('latin1'), inBytes), 'latin1'));
  writeNew(config, offerConfig({ tree, filter, confined }));
  return config;
}

/**
 * The records of the launcher's `serve` (src/launcher/serve.h). Pure.
 * @param listsAbove whether rsync opens the folders above the paths for reading. Packages of 3.2.3 to 3.4.4 with the fix for
 *   CVE-2026-29518 do; versions that know `--insecure-links` do not (docs/versions.md).
 */
export function serveRecords(tree: string, paths: readonly Buffer[], listsAbove: boolean): Buffer {
  const record = (name: string, value: Buffer): Buffer =>
    Buffer.concat([Buffer.from(`${name} `), value, Buffer.from([0])]);
  const inTree = (path: Buffer): Buffer => Buffer.concat([Buffer.from(`${tree}/`), path]);
  // rsync lists the folder of a name that it takes for a pattern (asArgument() in wire/rsync.ts).
  const listsPatterns = listedRoots(paths.map(path => `/${decodeName(path)}`)).length > 0;
  return Buffer.concat([
    ...(paths.length === 0
      ? [record('path', Buffer.from(tree))]
      : paths.map(path => record('path', inTree(path)))),
    ...(listsAbove || listsPatterns ? [record('list', Buffer.from(tree))] : []),
  ]);
}
