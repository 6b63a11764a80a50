/** One attempt at a backup: its scope, its request to the host, and the checks of the host's outcome. */

import { Fault } from '../fault.ts';
import { findSubject, ownAccount } from '../os/account.ts';
import { settleAll } from '../os/async.ts';
import { rsyncLibraries, tryConfinement } from '../os/launcher.ts';
import { readMountTable } from '../os/mounts.ts';
import { makeRunFolder } from '../os/runfolder.ts';
import { rsyncVersion, rsyncWords } from '../os/versions.ts';
import { isRsyncVulnerable } from '../shared/package-changelog.ts';
import { findPrinter, printedWords, quietAdvice } from '../shared/startup-files.ts';
import { below, literalPattern } from '../wire/filter-pattern.ts';
import { encodeRsync, REQUEST_LIMITS } from '../wire/request.ts';
import { knowsZstd } from '../wire/rsync-output.ts';
import { asText } from '../wire/text.ts';
import { openChannel } from './channel.ts';
import { decideCompression } from './compression.ts';
import { ownNiceness, type Remote } from './config.ts';
import { openDirect } from './direct.ts';
import { HostEvents } from './host-events.ts';
import { isLocal, openLocal } from './local.ts';
import { hungWarning } from './mount-points.ts';
import {
  type ChosenScope,
  chooseScope,
  prepareSender,
  type SenderOwner,
  writeSenderFiles,
} from './prepared-sender.ts';
import { type Run, runFault } from './run-events.ts';
import { enumeratedNames, findHungMounts } from './scope.ts';
import type { LeftOutFolder } from './tag-rules.ts';
import { findLeftOut } from './tagged.ts';
import { killReader, readTaken } from './ticket.ts';
import type { Attempt, AttemptOutcome, OpenTransport } from './transport.ts';
import { forgetSender } from './trial.ts';

const TRANSPORTS: Record<Remote['transport'], OpenTransport> = {
  direct: openDirect,
  channel: openChannel,
  local: openLocal,
};

/**
 * Makes one attempt: checks this machine, calls the host and waits for its outcome. Everything that it opens is closed in
 * reverse order when it ends.
 * @param checksum whether file contents are compared
 * @returns the host's report
 * @throws Fault where there is no outcome, or one that cannot be true
 */
export async function makeAttempt(run: Run, checksum: boolean): Promise<AttemptReport> {
  const { config, remote, state, events } = run;
  const before = readMountTable();
  const hung = await findHungMounts(config, undefined, before);
  const transport = await TRANSPORTS[remote.transport](run, hung);
  for (const path of hung) events.warning(hungWarning(path));
  // The disk of a store may have been mounted while the transport waited for it.
  const owner: SenderOwner = {
    ...{ config, state, interrupt: run.interrupt, remote: events.remote },
    warn: (message, code) => events.warning(message, code),
  };
  const chosen = chooseScope(owner, hung, isLocal(remote) ? readMountTable() : before);
  const { capability } = chosen;

  await using held = new AsyncDisposableStack();
  const [runFolder, words, libraries] = await settleAll([
    makeRunFolder(held, state, killReader),
    rsyncWords(),
    capability === 'confined' ? rsyncLibraries() : [],
  ]);
  const hasZstd = knowsZstd(words);
  const sender = await prepareSender(owner, chosen, { runFolder, libraries, hasZstd, checksum });
  const carry = await transport.prepare(runFolder);
  const asked = { chosen, sender, libraries, folder: runFolder, signal: run.interrupt };
  const tagged = await findLeftOut(asked, config, owner.warn);
  const compress = chooseCompression(run, hasZstd);
  writeSenderFiles(runFolder, chosen, sender, { compress, excludes: chosen.excludes, tagged });
  const excludes = sentExcludes(chosen, tagged);
  const attempt: Attempt = {
    run,
    runFolder,
    capability,
    orders: {
      niceness: ownNiceness(config),
      capability,
      bwlimitKib: Math.ceil((config.limits.bwlimit ?? 0) / 1024),
      remote: events.remote,
      isChannel: remote.transport !== 'direct',
    },
    header: {
      roots: chosen.roots.map(each => asText(each.path)),
      excludes_bytes: excludes.length,
      dry_run: run.dryRun,
      rsync: await describeRsync(words, sender.listsAll),
      enumerated: capability === 'confined' ? enumeratedNames(sender.scope) : [],
      ...(checksum ? { checksum: true } : {}),
      ...(compress ? { compress: 'zstd' } : {}),
      ...(config.limits.max_size === undefined ? {} : { max_size: config.limits.max_size }),
    },
    excludes,
    host: new HostEvents(events),
  };
  const reported = await carry(held, attempt);
  await checkOutcome(attempt, reported);
  return { ...reported, tagged };
}

/** The report of an attempt. */
interface AttemptReport extends AttemptOutcome {
  /** The folders that it left out by their tags. */
  tagged: LeftOutFolder[];
}

/** The exclude list for the host, which keeps it beside the snapshot. */
function sentExcludes({ excludes }: ChosenScope, tagged: readonly LeftOutFolder[]): Buffer {
  const text = (patterns: string[]): string => patterns.map(each => `${each}\n`).join('');
  const own = text(excludes.map(each => each.pattern));
  const more = text(tagged.map(({ path }) => below(literalPattern(path))));
  // A request has a limit, and the run does not depend on this record.
  return Buffer.from(own.length + more.length <= REQUEST_LIMITS.excludes ? own + more : own, 'latin1');
}

/** The version of the installed rsync and its flags, for the record of the snapshot. */
async function describeRsync(words: string, listsAll: boolean): Promise<string> {
  const version = await rsyncVersion(words);
  return encodeRsync(version, [
    ...(listsAll ? (['lists-names'] as const) : []),
    ...(isRsyncVulnerable(version) ? (['vulnerable'] as const) : []),
  ]);
}

/** Chooses whether this run compresses, and reports it. A dry run sends no content, and a local run has no connection. */
function chooseCompression({ config, remote, dryRun, events }: Run, hasZstd: boolean): boolean {
  if (dryRun || isLocal(remote)) return false;
  const chosen = decideCompression(config.limits.compress, hasZstd);
  events.compression(chosen);
  return chosen.compress;
}

/**
 * Refuses an outcome that cannot be true, adds this machine's explanation to a failure, and deletes remembered values that
 * may be wrong.
 */
async function checkOutcome(
  { run, runFolder, capability }: Attempt,
  { outcome }: AttemptOutcome,
): Promise<void> {
  const { code } = outcome;
  requireBelievable(run, outcome, readTaken(runFolder) !== undefined);
  if (code === 'no-answer' && run.remote.transport === 'direct') await requireQuietShell(run.events.remote);
  // At the real start the message of the launcher went to the host. If it still refuses, this shows the message here.
  if (capability === 'confined' && (code === 'no-answer' || code === 'rsync'))
    await tryConfinement(runFolder);
  if (code === 'nothing' || code === 'no-answer' || code === 'rsync')
    await forgetSender(run.state, capability);
}

/** A host that reports a success which cannot have happened has failed. */
function requireBelievable(run: Run, outcome: AttemptOutcome['outcome'], wasTaken: boolean): void {
  if (outcome.code !== null) return;
  const { remote } = run.events;
  if (!wasTaken) throw runFault(remote, 'the backup host says that it is done, and was never let in');
  if ((outcome.snapshot === null) === run.dryRun) return;
  const found = run.dryRun ? 'made a snapshot of a dry run' : 'kept nothing';
  throw runFault(remote, `the backup host says that it ${found}`);
}

/** @throws Fault where a start-up file of this account prints text before rsync starts, which the host cannot know */
async function requireQuietShell(remote: string): Promise<void> {
  const { uid, name } = ownAccount();
  const subject = await findSubject(uid);
  const printed = subject && (await findPrinter(subject));
  if (printed === undefined) return;
  throw new Fault({
    tried: `back up to "${remote}"`,
    found: `${printedWords(printed, name)} into the connection, before rsync`,
    next: `${quietAdvice(printed)}; or transport = "channel" in client.toml, which needs no shell here`,
  });
}
