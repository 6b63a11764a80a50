/** The record (snapshot.json) that a run writes beside its tree: how the tree arrived, and which doubts there are about it. */
import { createHash } from 'node:crypto';
import { now } from '../os/clock.ts';
import { isRsyncVulnerable } from '../shared/package-changelog.ts';
import type { Arrival } from '../store/arrival.ts';
import type { MovedFiles } from '../store/moved-files.ts';
import type { SnapshotRecord } from '../store/snapshot.ts';
import type { ClientStore } from '../store/store.ts';
import type { OutcomeEvent } from '../wire/events.ts';
import { decodeRsync, type Request, type RsyncRemark } from '../wire/request.ts';
import type { PullEnd } from './pull.ts';

/** A run that has ended well, before its commit. */
interface PulledRun {
  client: ClientStore;
  request: Request;
  arrival: Arrival;
  end: PullEnd;
  outcome: OutcomeEvent;
  /** Whether the client's rsync ran in the launcher's jail, as the client says. */
  isSenderConfined: boolean;
  /** The version of this host's rsync, and the options that it ran with. */
  hostRsync: string;
  options: string[];
  /** The files that were linked to moved ones. */
  moved: MovedFiles;
  /** The record of the snapshot that the run linked against. */
  basis: SnapshotRecord | undefined;
}

/** The flags for remarks about the client's rsync, which the client makes itself. */
const REMARK_FLAGS: Record<RsyncRemark, string> = {
  'lists-names': 'client-lists-names',
  vulnerable: 'client-rsync-vulnerable',
};

/** The record without its lists. */
const RECORD_BYTES = 8192;

/** Estimates the bytes that are written beside the tree: the exclude list, and snapshot.json with the roots and rsync's options. */
export function recordBytes({ header, excludes }: Request): number {
  return excludes.length + 3 * JSON.stringify(header).length + RECORD_BYTES;
}

/** Makes a run's record. @param others the flags that come from a comparison with earlier runs */
export function makeRecord(run: PulledRun, others: string[]): SnapshotRecord {
  const { request, arrival, end, outcome, moved } = run;
  const confined = confinedOf(run);
  return {
    version: 1,
    client: run.client.name,
    snapshot: arrival.name,
    started: arrival.started.toISOString(),
    finished: now().toISOString(),
    state: outcome.outcome === 'incomplete' ? 'incomplete' : 'full',
    transport: request.header.transport,
    confined,
    rsync: {
      client: decodeRsync(request.header.rsync).version,
      host: run.hostRsync,
      exit: end.ending.status ?? 255,
      options: run.options,
    },
    scope: {
      roots: request.header.roots,
      excludes_sha256: createHash('sha256').update(request.excludes).digest('hex'),
    },
    counts: {
      ...end.counts,
      new_bytes: Math.max(0, end.counts.new_bytes - moved.bytes),
      ...(moved.files > 0 ? { moved: moved.files, moved_bytes: moved.bytes } : {}),
      ...(moved.shared.files > 0 ? { shared: moved.shared.files, shared_bytes: moved.shared.bytes } : {}),
      vanished: end.vanished,
      unreadable: end.missingCount,
      changed_during_run: end.changedDuringRun,
    },
    basis: arrival.basis,
    flags: [...flagsOf(run, confined), ...others],
    durable: arrival.isDurable,
    same_paths: arrival.samePaths,
  };
}

function confinedOf({ end: { jail }, isSenderConfined }: PulledRun): SnapshotRecord['confined'] {
  return {
    send: isSenderConfined,
    receive: jail !== undefined,
    landlock_abi: jail?.landlockAbi ?? null,
    own_root: jail?.hasOwnRoot ?? false,
  };
}

function flagsOf(
  { end, request, hostRsync, basis }: PulledRun,
  confined: SnapshotRecord['confined'],
): string[] {
  return [
    ...(end.wordCount + end.unstored.count > 0 ? ['host-errors'] : []),
    // A group of hard links on the client is more than one inode here.
    ...(end.newInodes > 0 ? ['hard-links-split'] : []),
    ...(end.hasCutTimes ? ['times-cut'] : []),
    // A jail that is weaker than the last one is reported at once.
    ...((basis?.confined.own_root ?? false) && !confined.own_root ? ['less-confined'] : []),
    ...decodeRsync(request.header.rsync).remarks.map(each => REMARK_FLAGS[each]),
    ...(isRsyncVulnerable(hostRsync) ? ['host-rsync-vulnerable'] : []),
  ];
}
