/** Outcomes as text or JSON. Whatever came from elsewhere is escaped here. */

import { isDeepStrictEqual } from 'node:util';
import type { RunOutcome } from '../client/backup.ts';
import type { InitResult, LocalInitResult } from '../client/setup.ts';
import type { Finding, State } from '../doctor/finding.ts';
import type { EnrollResult, LocalEnrollResult, UnenrollResult } from '../host/enroll.ts';
import { ERRNO, errnoWords, unstoredWords } from '../os/errno.ts';
import { jsonText } from '../output/json.ts';
import { table } from '../output/table.ts';
import { BILLION, showAge, showBytes, showDuration, showTime } from '../output/units.ts';
import type { Difference } from '../store/diff.ts';
import type { EntryType, TreeEntry } from '../store/fake-super.ts';
import type { Version } from '../store/file-index.ts';
import { areAlarming, failuresText } from '../store/health.ts';
import type { Listed } from '../store/list.ts';
import { COPY_AGAIN, LOST_ATTRIBUTES } from '../store/lost-attributes.ts';
import type { Pinning } from '../store/snapshot.ts';
import type { PruneResult } from '../store/prune.ts';
import type { Removal } from '../store/remove.ts';
import type { ClientStatus } from '../store/status.ts';
import type { Damage } from '../store/verify-pass.ts';
import type { Verified } from '../store/verify.ts';
import type { UnstoredEvent } from '../wire/events.ts';
import { fingerprint, showKey } from '../wire/key.ts';
import { escapeText, type JsonName, jsonName, quoteForShell, showName } from '../wire/text.ts';

/** Words of ours for who reads no UTF-8 (a plain terminal, a mail of cron's): their one other letter is spelt out. */
export function wordsText(text: string, isUtf8: boolean): string {
  return isUtf8 ? text : text.replaceAll('…', '...');
}

/** A run's outcome as one JSON line (design: JSON). */
export function outcomeJson(run: RunOutcome): string {
  const { outcome, fault, hookFault } = run;
  const lacks = lacksOf(run);
  return jsonText({
    event: 'done',
    remote: run.remote,
    outcome: run.skipped === undefined ? (outcome?.outcome ?? 'failed') : 'skipped',
    snapshot: outcome?.snapshot ?? null,
    files: outcome?.files ?? 0,
    bytes: outcome?.bytes ?? 0,
    transferred_bytes: outcome?.transferred_bytes ?? 0,
    duration_ms: run.durationMs,
    vanished: outcome?.vanished ?? 0,
    changed_during_run: outcome?.changed_during_run ?? 0,
    missing: lacks.map(each => each.path),
    missing_reasons: lacks.map(each => each.why),
    missing_count: lackCount(run),
    exit: run.exit,
    error: fault?.message ?? hookFault?.message ?? null,
    next: (fault ?? hookFault)?.next ?? null,
  });
}

/** A run's success in one line. */
export function summaryText(run: RunOutcome): string {
  const { outcome, remote } = run;
  if (run.skipped !== undefined) return `${remote}: skipped: ${run.skipped}\n`;
  if (!outcome || outcome.outcome === 'failed') return ''; // the fault says it
  const vanished = outcome.vanished > 0 ? `; ${outcome.vanished} were gone before they were read` : '';
  const changed =
    outcome.changed_during_run > 0
      ? `; ${outcome.changed_during_run} changed meanwhile, and come with the next run`
      : '';
  const size = `${outcome.files} ${outcome.files === 1 ? 'file' : 'files'}, ${showBytes(outcome.bytes)}`;
  if (outcome.snapshot === null)
    return `${remote}: dry run: ${size} would be in the backup; nothing was kept${vanished}${changed}\n`;
  const state = outcome.outcome === 'full' ? 'backed up' : 'backed up in part';
  const cost = `${showBytes(outcome.transferred_bytes)} sent, in ${showDuration(run.durationMs)}`;
  return `${remote}: ${state}: ${size}, in snapshot ${outcome.snapshot} (${cost})${vanished}${changed}\n`;
}

/** Each name that a run could not save, or not with all of its attributes, and why: what was not read comes first. */
function lacksOf({ outcome, unstored }: RunOutcome): { path: JsonName; why: string | null }[] {
  return [
    ...(outcome?.missing ?? []).map(({ path, errno }) => ({
      path,
      why: errno === null ? null : errnoWords(errno),
    })),
    ...(unstored?.files ?? []).map(each => ({
      path: each.path,
      why: `the backup host ${unstoredWords(each)}`,
    })),
  ];
}

/** How many these are; a run names only some of them. */
function lackCount({ outcome, unstored }: RunOutcome): number {
  return (outcome?.missing_count ?? 0) + (unstored?.count ?? 0);
}

/** With the words around them, no more than a screen, or a mail that is read. */
const MISSING_SHOWN = 15;

/**
 * What an incomplete snapshot lacks.
 * @param others the runs whose lists are printed already: the same list is not printed twice
 */
export function missingText(run: RunOutcome, others: RunOutcome[] = []): string {
  const { outcome, unstored } = run;
  if (outcome?.outcome !== 'incomplete') return '';
  const unread = outcome.missing_count;
  const count = lackCount(run);
  const lacks = lacksOf(run);
  const shown = lacks
    .slice(0, MISSING_SHOWN)
    .map(({ path, why }) => `  ${showName(path)}${why === null ? '' : ` (${why})`}\n`);
  const rest = count > shown.length ? [`  and ${count - shown.length} more\n`] : [];
  const isSame = (other: RunOutcome): boolean =>
    other.outcome?.outcome === 'incomplete' &&
    isDeepStrictEqual(lacksOf(other), lacks) &&
    lackCount(other) === count;
  const same = count > 0 ? others.find(isSame) : undefined;
  const list = same ? [`  the same as to "${same.remote}"\n`] : [...shown, ...rest];
  const found = [
    ...(unread > 0 ? [`${unread} could not be read`] : []),
    ...(unread < count ? [`the backup host could not store ${count - unread} completely`] : []),
    ...(count === 0 ? ['the backup host could not store all that was sent'] : []),
  ];
  const head = `Cannot back up everything to "${run.remote}": ${found.join('; ')}\n`;
  const next = unread > 0 ? adviceFor(outcome.missing.map(each => each.errno)) : adviceForHost(unstored);
  return `dialback: ${head}${list.join('')}${same ? '' : `next: ${next}\n`}`;
}

const { EPERM, ENOENT, EIO, EACCES, ENODEV, ELOOP, ENAMETOOLONG, EBADMSG, ETIMEDOUT, ENOTCONN } = ERRNO;
const { EFBIG, ESTALE, ENODATA, EUCLEAN, EHOSTDOWN, EREMOTEIO } = ERRNO;

const FSCK = 'see what the kernel says about the disk (dmesg), and check its file system (fsck)';
/** What to do about files that could not be read, the most urgent kind first. */
const ADVICE: { errnos: number[]; next: string }[] = [
  {
    errnos: [EIO, EUCLEAN, EBADMSG, EREMOTEIO],
    next: FSCK,
  },
  {
    errnos: [ETIMEDOUT, ENOTCONN, ESTALE, EHOSTDOWN, ENODEV],
    next: 'mount their file system again, or name it in `exclude` of client.toml',
  },
  { errnos: [ELOOP, ENAMETOOLONG], next: 'name them in `exclude` of client.toml' },
  {
    errnos: [EPERM, EACCES],
    next: 'let this account read them, or name them in `exclude` of client.toml',
  },
  {
    errnos: [EFBIG],
    next: 'set `max_size` higher, here or on the backup host, or name them in `exclude` of client.toml',
  },
  { errnos: [ENOENT], next: 'set `roots` in client.toml to what is there' },
  {
    errnos: [ENODATA],
    next: 'back up again when no program writes them, or from a snapshot of the file system',
  },
];

function adviceFor(errnos: (number | null)[]): string {
  const found = ADVICE.find(each => errnos.some(errno => errno !== null && each.errnos.includes(errno)));
  return found?.next ?? 'let this account read them, or name them in `exclude` of client.toml';
}

/** What only the host's administrator can change. */
function adviceForHost(unstored: UnstoredEvent | undefined): string {
  if (unstored === undefined) return "see the host's log";
  return "ask the host's administrator: its log has the reason; or name them in `exclude` of client.toml";
}

/** `list` as a table. */
export function listText(rows: Listed[]): string {
  const cells = rows.map(row => [
    row.client,
    row.snapshot,
    row.state,
    String(row.files),
    showBytes(row.bytes),
    showBytes(row.new_bytes),
    [...(row.pinned ? ['pinned'] : []), ...row.flags].map(each => escapeText(each)).join(','),
  ]);
  return table(['client', 'snapshot', 'state', 'files', 'size', 'new', 'flags'], cells, [3, 4, 5]);
}

/** `status`: a table, and below it what is not well. */
export function statusText(clients: ClientStatus[]): string {
  if (clients.length === 0) return 'there is no client yet\n';
  const cells = clients.map(each => [
    each.level,
    each.client,
    each.last_full ? each.last_full.snapshot : 'none',
    each.last_full ? showAge(each.last_full.age_ms) : '-',
    each.last_full ? showBytes(each.last_full.bytes) : '-',
    each.last_full ? showBytes(each.last_full.new_bytes) : '-',
    `${each.snapshots}${each.pinned.length > 0 ? ` (${each.pinned.length} pinned)` : ''}`,
    each.held ? showBytes(each.held.bytes) : '?',
    each.last_verify ? each.last_verify.at.slice(0, 10) : 'never',
    each.next_removal ? `${each.next_removal.snapshot} on ${each.next_removal.at.slice(0, 10)}` : 'none',
  ]);
  const head = [
    'state',
    'client',
    'last full',
    'age',
    'size',
    'new',
    'snapshots',
    'on disk',
    'verified',
    'next removal',
  ];
  const problems = clients.flatMap(({ client, problems: found, failures, retired }) => [
    ...found.map(each => `${client}: ${escapeText(each)}\n`),
    ...(retired === null ? [] : [`${client}: retired: unenrolled at ${retired}\n`]),
    // A single one is no alarm, and not kept quiet either.
    ...(failures === null || areAlarming(failures) || retired !== null
      ? []
      : [`${client}: ${escapeText(failuresText(failures))}\n`]),
  ]);
  return `${table(head, cells, [3, 4, 5, 6, 7])}${problems.join('')}`;
}

/** `pin`: what it did. @param name NAME@SNAPSHOT */
export function pinText(name: string, { did, reason, before }: Pinning): string {
  if (did === 'pinned') return `pinned "${name}": ${reason}\n`;
  if (did === 'kept') return `"${name}" is pinned already: ${reason}\n`;
  return `"${name}" was pinned already: ${before}\nits reason is now: ${escapeText(reason)}\n`;
}

/** `unpin`: what it did. @param before why it was pinned; undefined: it was not */
export function unpinText(name: string, before: string | undefined): string {
  return before === undefined
    ? `"${name}" is not pinned\n`
    : `unpinned "${name}", which was pinned: ${before}\n`;
}

/** `remove` and `remove-client`: what has gone, or would go. */
export function removalText({ dry_run: isDry, named, snapshots, pinned, frees }: Removal): string {
  const pins = pinned === 0 ? '' : `, ${pinned} of them pinned`;
  const count = named.includes('@') ? '' : `, with ${snapshots} snapshots${pins}`;
  const bytes = frees === null ? '' : `; that ${isDry ? 'would free' : 'frees'} ${showBytes(frees.bytes)}`;
  return `${isDry ? 'would remove' : 'removed'} "${named}"${count}${bytes}\n`;
}

/** `unenroll`: what it did. */
export function unenrollText(name: string, { authorizedKeys, folder }: UnenrollResult): string {
  const did =
    authorizedKeys === undefined
      ? `"${name}" is unenrolled; no key of it was there`
      : `took "${name}" out of "${authorizedKeys}"`;
  return `${did}\nits snapshots stay in "${folder}"\n`;
}

/** `prune`: why each snapshot stays or goes, and what that frees. */
export function pruneText({ dry_run: isDry, clients }: PruneResult): string {
  const cells = clients.flatMap(({ client, snapshots }) =>
    snapshots.map(each => [
      client,
      each.snapshot,
      each.state,
      each.keep ? 'keep' : 'remove',
      each.frees ? showBytes(each.frees.bytes) : '',
      each.frees ? String(each.frees.inodes) : '',
      each.reasons.join(', '),
    ]),
  );
  const busy = clients.filter(each => each.busy);
  const removed = clients.filter(each => !each.busy).flatMap(each => each.snapshots.filter(one => !one.keep));
  const bytes = removed.reduce((sum, each) => sum + (each.frees?.bytes ?? 0), 0);
  const inodes = removed.reduce((sum, each) => sum + (each.frees?.inodes ?? 0), 0);
  const ms = clients.reduce((sum, each) => sum + each.estimated_ms, 0);
  const isKnown = removed.every(each => each.frees !== null);
  const size = isKnown ? `${showBytes(bytes)} and ${inodes} inodes` : 'of unknown size, since no index fits';
  const what = `${removed.length} of ${cells.length} snapshots, ${size}`;
  return [
    ...(cells.length > 0
      ? [table(['client', 'snapshot', 'state', '', 'frees', 'inodes', 'why'], cells, [4, 5])]
      : []),
    ...busy.map(({ client }) => `${client}: a run is under way; its snapshots are left for the next prune\n`),
    isDry ? `would remove ${what}, in about ${showDuration(ms)}\n` : `removed ${what}\n`,
  ].join('');
}

/** The clients that could not be pruned, or not to the end, and why. */
export function unprunedText({ clients }: PruneResult): string {
  return [...clients.map(undeletedText), clientsThatFailed('prune', clients)].join('');
}

function undeletedText({ client, undeleted }: PruneResult['clients'][number]): string {
  if (undeleted === undefined) return '';
  return `dialback: Note: what is removed of "${client}" still takes its room: ${undeleted}\nnext: ${FSCK}\n`;
}

/** @param what a command that has a client's NAME as its argument */
function clientsThatFailed(
  what: string,
  clients: { client: string; failed: string | null; next?: string }[],
): string {
  const failed = clients.filter(each => each.failed !== null);
  if (failed.length === 0) return '';
  const lines = failed.map(each => `  ${each.client}: ${each.failed}\n`);
  // Asked alone, a client says what there is to do: unless it has said so already.
  const next = failed[0]?.next ?? `dialback ${what} ${failed[0]?.client}`;
  return `dialback: Cannot ${what} ${failed.length} of ${clients.length} clients:\n${lines.join('')}next: ${next}\n`;
}

/** What enroll did, and what comes next. */
export function enrollText(name: string, result: EnrollResult): string {
  const did = {
    added: `enrolled "${name}"`,
    kept: `"${name}" was enrolled with this key already`,
    updated: `enrolled "${name}" anew: same key, new command`,
    replaced: `enrolled "${name}" with its new key; the old one is out`,
  }[result.did];
  const store = result.storeCreated === undefined ? '' : `created the store "${result.storeCreated}"\n`;
  const wrote = result.configWritten
    ? `wrote "${result.configWritten.path}": backups go to "${result.configWritten.store}"\n`
    : '';
  const open = result.noJail === undefined ? '' : `${openLine(result.noJail)}\n`;
  return `${wrote}${open}${store}${did} in "${result.authorizedKeys}"\n${enrollNext(name, result)}`;
}

/** @param noJail why the kernel cannot build the receiver's jail */
function openLine(noJail: string): string {
  return `with confined = false in it: ${noJail}`;
}

/**
 * What enroll --local did, and what comes next.
 * @param config the host.toml that was named @param isClient whether this account has a client.toml already
 */
export function enrollLocalText(
  name: string,
  config: string | undefined,
  result: LocalEnrollResult,
  isClient: boolean,
): string {
  const { store, isNew } = result;
  const init = `dialback init --name ${name} --transport local --target ${quoteForShell(store)}`;
  const told = [
    ...(result.isConfigNew ? [`wrote "${result.config}": backups go to "${store}"`] : []),
    ...(result.noJail === undefined ? [] : [openLine(result.noJail)]),
    ...(result.isStoreNew ? [`created the store "${store}"`] : []),
    isNew ? `"${store}" keeps the backups of "${name}"` : `"${store}" kept the backups of "${name}" already`,
  ];
  if (isClient) return `${told.join('\n')}\nnext: dialback backup\n`;
  const named =
    config === undefined ? '' : `then, in its [[remote]]: host_config = ${JSON.stringify(config)}\n`;
  return `${told.join('\n')}\n${nextText('as this account', init)}${named}`;
}

/** The command for the client, and what in it a person has to check. */
function enrollNext(name: string, { target, hostKey }: EnrollResult): string {
  const key = hostKey
    ? `this host's key: ${fingerprint(hostKey.key)} (${hostKey.path})`
    : 'no public key of this host is in /etc/ssh: write the one that its sshd has (sshd_config, HostKey) for KEY';
  const command = `dialback init --name ${name} --target ${target} --host-key ${quoteForShell(hostKey ? showKey(hostKey.key) : 'KEY')}`;
  return [
    key,
    `see that the client knows this host by the name in "${target}"; with a port it is ssh://${target}:PORT`,
    nextText('on the client', command),
  ].join('\n');
}

/** A command for somebody else: on a line of its own, so that it is easily copied whole. */
function nextText(where: string, command: string): string {
  return `next: ${where}:\n  ${command}\n`;
}

/** What init did, and what comes next. */
export function initText(result: InitResult, namedConfig: string | undefined): string {
  const { name, key, setUp } = result;
  const enrol = nextText(
    'on the backup host, as the account that receives',
    `echo ${quoteForShell(`${key.publicKey} ${name}`)} | dialback enroll ${name} -`,
  );
  const made = `${key.isNew ? 'made the key' : 'the key is'} "${key.path}"\n`;
  if (!setUp) return `${made}${enrol}`;
  const roots = setUp.roots.map(root => `"${escapeText(root)}"`).join(', ');
  const backup = `dialback backup${namedConfig === undefined ? '' : ` --config ${quoteForShell(setUp.config)}`}\n`;
  const told = [
    `the host's key: ${setUp.fingerprint} (compare it with what \`enroll\` said on the host)`,
    `${setUp.isNew ? 'wrote' : 'it is set up already, by'} "${setUp.config}": ${roots} to "${setUp.target}", ${howRead(setUp)}`,
    ...jailLines(setUp),
    ...(setUp.channelBecause === undefined
      ? []
      : [
          `with transport = "channel" in it: ${escapeText(setUp.channelBecause)} (if it can be reached all the same, write "direct" there)`,
        ]),
    '',
  ].join('\n');
  // A key that was made just now is enrolled nowhere.
  return key.isNew ? `${made}${told}${enrol}then: ${backup}` : `${told}next: ${backup}`;
}

type Read = Pick<NonNullable<InitResult['setUp']>, 'config' | 'isConfined' | 'jail'>;

function howRead({ isConfined, jail }: Read): string {
  if (isConfined) return "in the kernel's jail";
  return jail?.capability === 'inherited' ? 'without a jail' : 'as far as this account may read';
}

function jailLines({ config, jail }: Read): string[] {
  if (!jail) return [];
  if (jail.capability === 'inherited')
    return [`with capability = "inherited" in it: ${jail.found}; rsync has a file capability instead`];
  if (jail.capability === 'confined')
    return [`the jail does not work yet: ${jail.found}`, `to repair it: ${jail.next ?? 'dialback doctor'}`];
  return [
    `with capability = "none" in it: ${jail.found}`,
    `for the whole machine: boot a kernel with Landlock, or make install INHERITED=1, as root, in dialback's sources; then rm ${quoteForShell(config)}, and say the same again`,
  ];
}

/** What init did for a store on this machine, and what comes next. */
export function initLocalText(result: LocalInitResult, namedConfig: string | undefined): string {
  const { name, config, isNew, target, roots, isEnrolled } = result;
  const what = roots.map(root => `"${escapeText(root)}"`).join(', ');
  const wrote = `${isNew ? 'wrote' : 'it is set up already, by'} "${config}": ${what} to "${target}", ${howRead(result)}`;
  const told = [wrote, ...jailLines(result), ''].join('\n');
  const backup = `dialback backup${namedConfig === undefined ? '' : ` --config ${quoteForShell(config)}`}\n`;
  if (isEnrolled) return `${told}next: ${backup}`;
  const enrol = `dialback enroll ${name} --local --store ${quoteForShell(target)}`;
  return `${told}${nextText('as this account, with the disk in its place', enrol)}then: ${backup}`;
}

/** A path of a snapshot, as on the client. */
export function clientPath(path: Buffer): JsonName {
  return jsonName(Buffer.concat([Buffer.from('/'), path]));
}

/** An entry for --json; the rest of `ls` is in it too. */
export function entryJson(entry: TreeEntry): Record<string, unknown> {
  const { type, mode, uid, gid, device, size, mtimeNs, target, acl, xattrs } = entry;
  return {
    path: clientPath(entry.path),
    type,
    mode: mode.toString(8).padStart(4, '0'),
    uid,
    gid,
    size: type === 'folder' ? null : size,
    device,
    mtime: showTime(mtimeNs, 9),
    target: target === null ? null : jsonName(target),
    acl,
    xattrs: xattrs.map(({ name, value }) => ({
      name: jsonName(name),
      value: { base64: value.toString('base64') },
    })),
  };
}

const TYPE_LETTERS: Record<EntryType, string> = {
  file: '-',
  folder: 'd',
  symlink: 'l',
  fifo: 'p',
  socket: 's',
  'char device': 'c',
  'block device': 'b',
};

/** Type and mode as ls(1) has them: `-rwsr-xr-x`. */
function showMode(type: EntryType, mode: number): string {
  const special = [0o4000, 0o2000, 0o1000].map(bit => (mode & bit) !== 0);
  const triples = [6, 3, 0].map((shift, index) => {
    const rights = (mode >> shift) & 7;
    const letter = index === 2 ? 't' : 's';
    const runs = (rights & 1) !== 0;
    const last = special[index] ? (runs ? letter : letter.toUpperCase()) : runs ? 'x' : '-';
    return `${rights & 4 ? 'r' : '-'}${rights & 2 ? 'w' : '-'}${last}`;
  });
  return `${TYPE_LETTERS[type]}${triples.join('')}`;
}

/**
 * An entry as a line of `ls`: `+` behind the mode is an ACL, `@` are xattrs. Columns have a least width, not a common one:
 * a listing of any length goes out as it is read.
 * @param folder where the whole path need not be said
 */
export function entryText(entry: TreeEntry, folder: Buffer | undefined): string {
  const { type, mode, uid, gid, device, size, mtimeNs, target, acl, xattrs } = entry;
  const marks = `${acl === null ? ' ' : '+'}${xattrs.length > 0 ? '@' : ' '}`;
  const amount = device ? `${device.major}, ${device.minor}` : type === 'folder' ? '-' : String(size);
  const isBelow = folder !== undefined && entry.path.length > folder.length;
  const start = isBelow && folder.length > 0 ? folder.length + 1 : 0;
  const name = isBelow ? jsonName(entry.path.subarray(start)) : clientPath(entry.path);
  const leads = target === null ? '' : ` -> ${showName(jsonName(target))}`;
  return `${showMode(type, mode)}${marks} ${`${uid}:${gid}`.padEnd(11)} ${amount.padStart(12)} ${showTime(mtimeNs, 0)} ${showName(name)}${leads}\n`;
}

/** A difference for --json. */
export function differenceJson({ path, change, what, before, after }: Difference): Record<string, unknown> {
  return {
    path: clientPath(path),
    change,
    what,
    before: before && entryJson(before),
    after: after && entryJson(after),
  };
}

/** A difference as a line: a letter, the path, and of what is in both which attributes. */
export function differenceText({ path, change, what, before, after }: Difference): string {
  const letter =
    change === 'added'
      ? '+'
      : change === 'removed'
        ? '-'
        : what.includes('type')
          ? 'T'
          : what.some(each => each === 'content' || each === 'target' || each === 'device')
            ? 'M'
            : 'U';
  const slash = (after ?? before)?.type === 'folder' && path.length > 0 ? '/' : '';
  const details = before && after ? ` (${what.map(each => aspectText(each, before, after)).join(', ')})` : '';
  return `${letter} ${showName(clientPath(path))}${slash}${details}\n`;
}

function aspectText(aspect: Difference['what'][number], before: TreeEntry, after: TreeEntry): string {
  const octal = ({ mode }: TreeEntry): string => mode.toString(8).padStart(4, '0');
  const owner = ({ uid, gid }: TreeEntry): string => `${uid}:${gid}`;
  switch (aspect) {
    case 'type':
      return `${before.type} -> ${after.type}`;
    case 'mode':
      return `mode ${octal(before)} -> ${octal(after)}`;
    case 'owner':
      return `owner ${owner(before)} -> ${owner(after)}`;
    default:
      return aspect;
  }
}

/** A version of a file for --json. */
export function versionJson({ path, isFolder, size, mtime, snapshots }: Version): Record<string, unknown> {
  return {
    path: clientPath(path),
    folder: isFolder,
    size: isFolder ? null : size,
    mtime: mtime === undefined || isFolder ? null : showTime(indexedTime(mtime), 9),
    snapshots,
  };
}

/** A version of a file as a line of `find`. */
export function versionText({ path, isFolder, size, mtime, snapshots }: Version): string {
  const what =
    mtime === undefined || isFolder ? 'folder' : `${showBytes(size)}  ${showTime(indexedTime(mtime), 0)}`;
  const [first = '', last = ''] = [snapshots[0], snapshots.at(-1)];
  const held = snapshots.length === 1 ? first : `${first} … ${last} (${snapshots.length} snapshots)`;
  return `${showName(clientPath(path))}  ${what}  ${held}\n`;
}

/** find(1)'s seconds are those below, also before 1970. */
function indexedTime(mtime: string): bigint {
  const [seconds = '0', nanoseconds = '0'] = mtime.split('.');
  return BigInt(seconds) * BILLION + BigInt(nanoseconds);
}

/** A line for those of a list that are counted and not shown. */
export function moreText(count: number, shown: readonly unknown[]): string {
  return count > shown.length ? `  and ${count - shown.length} more\n` : '';
}

/** @param path below the tree, a character a byte */
export function damagedPath(path: string): JsonName {
  return clientPath(Buffer.from(path, 'latin1'));
}

/** In what a file is not as it was, in words. */
export const DAMAGES: Record<Damage['differences'][number], string> = {
  content: 'other content',
  attributes: 'other attributes',
  size: 'another size',
  time: 'another time',
  type: 'of another type',
  missing: 'missing',
  extra: 'not in the manifest',
  unreadable: 'cannot be read',
};

/** What was verified, for programs. */
export function verifiedJson(result: Verified): object {
  const damaged = result.damaged.map(each => ({ ...each, path: damagedPath(each.path) }));
  const doubtful = result.doubtful.map(each => ({ ...each, paths: each.paths.map(damagedPath) }));
  return { ...result, damaged, doubtful };
}

/** Names of doubtful files that are printed. */
const DOUBTFUL_SHOWN = 10;

/** Files that the next backup compares with the client, since a power cut could have emptied them. */
export function doubtfulText({ client, doubtful }: Verified): string {
  return doubtful
    .map(({ snapshot, count, paths }) => {
      const shown = paths.slice(0, DOUBTFUL_SHOWN);
      return [
        `${client}@${snapshot}: ${count} files have holes or end in zeros: their own, or in place of data that a power cut of this host took. The next backup of ${client} compares them.\n`,
        ...shown.map(path => `  ${showName(damagedPath(path))}\n`),
        moreText(count, shown),
      ].join('');
    })
    .join('');
}

/** What was verified, a line a client. */
export function verifiedText(results: Verified[]): string {
  const lines = results.map(each => {
    if (each.failed !== null) return `${each.client}: not verified\n`;
    const part = each.sample < 100 ? ` (a sample of ${Math.round(each.sample)}%)` : '';
    const damaged = each.damaged_count + each.records.length;
    const notes = [
      ...(each.resumed ? ['went on with one that was ended'] : []),
      ...(each.made.length > 0 ? [`made the manifest of ${each.made.join(', ')}: not verified yet`] : []),
      ...(each.unmade.length > 0
        ? [
            each.unrecorded === null
              ? `the manifest of ${each.unmade.join(', ')} is being made: not verified yet`
              : `${each.unmade.join(', ')} not verified: there is no manifest, and none can be written`,
          ]
        : []),
      ...(each.unrecorded === null ? [] : [`the store keeps no record of this: ${each.unrecorded}`]),
    ].map(note => `; ${note}`);
    return `${each.client}: ${each.snapshots.length} snapshots verified${part}, ${each.names} names, ${each.files_read} files (${showBytes(each.bytes_read)}) read, ${damaged} damaged${notes.join('')}\n`;
  });
  return lines.join('');
}

/** The clients that could not be verified, and why. */
export function unverifiedText(results: Verified[]): string {
  return clientsThatFailed('verify', results);
}

/** What is damaged, a line each. */
export function damagedText(results: Verified[]): string {
  const lines = results.flatMap(({ client, damaged, damaged_count: count, records }) => [
    ...damaged.map(({ path, differences, snapshots }) => {
      const what = differences.map(each => DAMAGES[each]).join(', ');
      return `  ${client}: ${showName(damagedPath(path))}: ${what}; in ${snapshots.join(', ')}\n`;
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
    `dialback: Cannot find the store as it was: ${total} damaged\n`,
    ...lines,
    `next: ${hasLost ? COPY_AGAIN : 'look at the disk (smartctl -a, dmesg), and restore these files from a snapshot or a machine that has them whole'}\n`,
  ].join('');
}

const STATE_WIDTH = 10;

/** What `doctor` found, in groups; why and what to do next only where something is not well. */
export function doctorText(findings: Finding[]): string {
  const groups = Map.groupBy(findings, each => each.check.split('.')[0] ?? '');
  const lines: string[] = [];
  for (const [group, members] of groups) {
    lines.push(group);
    for (const { check, state, found, why, next } of members) {
      const label = check.slice(group.length + 1).replaceAll('_', ' ');
      lines.push(`  ${state.padEnd(STATE_WIDTH)}${label}: ${printable(found)}`);
      if (state === 'ok') continue;
      const indent = ' '.repeat(STATE_WIDTH + 2);
      lines.push(`${indent}why: ${why}`);
      if (next !== null) lines.push(`${indent}next: ${printable(next)}`);
    }
  }
  const count = (state: State): number => findings.filter(each => each.state === state).length;
  lines.push(
    `${count('critical')} critical, ${count('warning')} warning, ${count('unknown')} unknown, ${count('ok')} ok`,
  );
  return `${lines.join('\n')}\n`;
}

/** Nothing that a terminal obeys or hides; backslashes stay as they are, since a command may have some. */
function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, '?');
}
