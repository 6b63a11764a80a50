// A store for the tests of the pages: clients whose names of files, links and attributes try to become markup or to hide.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { appendFileSync, linkSync, lutimesSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { openIndex } from '../../src/store/file-index.ts';
import type { SnapshotRecord } from '../../src/store/snapshot.ts';
import { type ClientStore, createClient, createStore, openClient } from '../../src/store/store.ts';
import { snapshotName } from '../../src/wire/text.ts';

/** A script that would show that a name became markup. */
const ATTACK = 'window.pwned=1';

/** Names of files. None has a slash, since no file has. */
export const HOSTILE_NAMES: readonly Buffer[] = [
  `<img src=x onerror=${ATTACK}>`,
  `"><svg onload=${ATTACK}>`,
  `' autofocus onfocus=${ATTACK} x='`,
  `<script>${ATTACK}<`,
  `javascript:${ATTACK}`,
  '&lt;b&gt; &amp; &#60;',
  '{{7*7}} $(id) %24',
  'invoice\u202Efdp.exe',
  '\u2066isolated\u2069 \u200Bzero width',
  'new\nline and\ttab and\rreturn',
  '\u001B[31mred\u001B[0m\u0007',
  'percent%2e%2e%2fetc%2fpasswd',
  '%00 %',
  'plus+and space',
  'question?mark=1#hash',
  'back\\slash',
  ' blanks around ',
  '...',
  '-rf',
  'שלום עולם.txt',
  'e\u0301 café 💾',
  `long ${'n'.repeat(250)}`,
]
  .map(name => Buffer.from(name))
  .concat([Buffer.from([0x62, 0x79, 0x74, 0x65, 0xff, 0xfe, 0x80]), Buffer.from([0xed, 0xa0, 0x80])]);

/** Folders with hostile names, one in the other. */
export const HOSTILE_FOLDER = Buffer.from(`home/<b onclick=${ATTACK}>/..\u202E`);

/** Entries of the folder `many`. */
export const MANY = 450;

const DAY_MS = 86_400_000;

function run(program: string, args: (string | Buffer)[]): void {
  const { status, stderr } = spawnSync(program, args.map(String), { encoding: 'utf8' });
  assert.equal(status, 0, `${program}: ${stderr}`);
}

/** Writes what rsync's --fake-super writes. @param stat `MODE MAJOR,MINOR UID:GID` */
function fake(path: string, stat: string, more: Record<string, string> = {}): void {
  for (const [name, value] of Object.entries({ 'user.rsync.%stat': stat, ...more }))
    run('setfattr', ['-h', '-n', name, '-v', value, path]);
}

function recordOf(
  client: string,
  at: Date,
  counts: Partial<SnapshotRecord['counts']>,
  more: Partial<SnapshotRecord>,
): SnapshotRecord {
  const base = { files: 0, folders: 0, bytes: 0, transferred_bytes: 0, new_bytes: 0, linked: 0, new: 0 };
  const others = {
    content_changed: 0,
    attributes_changed: 0,
    vanished: 0,
    unreadable: 0,
    changed_during_run: 0,
  };
  return {
    version: 1,
    client,
    snapshot: snapshotName(at),
    started: at.toISOString(),
    finished: new Date(at.getTime() + 65_000 + (counts.new ?? 0) * 1000).toISOString(),
    state: 'full',
    transport: 'direct',
    confined: { send: true, receive: true, landlock_abi: 7, own_root: false },
    rsync: { client: '3.5.0', host: '3.5.0', exit: 0, options: [] },
    scope: { roots: ['/'], excludes_sha256: '' },
    counts: { ...base, ...others, ...counts },
    basis: null,
    flags: [],
    durable: true,
    ...more,
  };
}

/** Plants the entries of the first snapshot. */
function plant(tree: string): void {
  const hostile = Buffer.concat([Buffer.from(`${tree}/`), HOSTILE_FOLDER]);
  for (const folder of ['etc', 'many', 'empty']) mkdirSync(`${tree}/${folder}`, { recursive: true });
  mkdirSync(hostile, { recursive: true });
  for (const name of HOSTILE_NAMES)
    writeFileSync(
      Buffer.concat([hostile, Buffer.from('/'), name]),
      `content of ${name.toString('latin1')}\n`,
    );
  for (let at = 0; at < MANY; at += 1) writeFileSync(`${tree}/many/${String(at).padStart(4, '0')}`, '');
  writeFileSync(`${tree}/etc/shadow`, 'root:*\n');
  fake(`${tree}/etc/shadow`, '100640 0,0 0:42', {
    'user.rsync.%aacl': `0x${'80000000'.repeat(2)}0500000080000000${'e803000004000080'}`,
    'user.comment': `<script>${ATTACK}</script>`,
    'user.<b>': '\u202E"><script>',
  });
  writeFileSync(`${tree}/etc/link`, `"></a><script>${ATTACK}</script>\u202E`);
  fake(`${tree}/etc/link`, '120777 0,0 0:0');
  writeFileSync(`${tree}/etc/null`, '');
  fake(`${tree}/etc/null`, '20666 1,3 0:0');
  writeFileSync(`${tree}/etc/setuid`, '#!\n');
  fake(`${tree}/etc/setuid`, '104755 0,0 0:0');
  writeFileSync(`${tree}/etc/changing`, 'first\n');
}

/** Makes the next snapshot: all files are linked but for one, which changes. */
function follow(before: string, tree: string, at: number): void {
  const walk = (folder: Buffer): void => {
    const [from, to] = [before, tree].map(each => Buffer.concat([Buffer.from(`${each}/`), folder])) as [
      Buffer,
      Buffer,
    ];
    mkdirSync(to, { recursive: true });
    for (const entry of readdirSync(from, { withFileTypes: true, encoding: 'buffer' })) {
      const path = folder.length === 0 ? entry.name : Buffer.concat([folder, Buffer.from('/'), entry.name]);
      if (entry.isDirectory()) walk(path);
      else if (path.toString() !== 'etc/changing')
        linkSync(
          Buffer.concat([Buffer.from(`${before}/`), path]),
          Buffer.concat([Buffer.from(`${tree}/`), path]),
        );
    }
  };
  walk(Buffer.alloc(0));
  writeFileSync(`${tree}/etc/changing`, `version ${at}\n`.repeat(at));
  lutimesSync(`${tree}/etc/changing`, 1_700_000_000 + at, 1_700_000_000 + at);
  writeFileSync(`${tree}/added in ${at}`, 'new\n');
}

/** Makes the snapshots of one client. @param count of snapshots, one a day; the newest is one hour old */
function makeSnapshots(client: ClientStore, count: number, now: Date): string[] {
  const names: string[] = [];
  let before = '';
  for (let at = 1; at <= count; at += 1) {
    const time = new Date(now.getTime() - 3_600_000 - (count - at) * DAY_MS);
    const name = snapshotName(time);
    const tree = `${client.folder}/snapshots/${name}/tree`;
    mkdirSync(tree, { recursive: true });
    if (before === '') plant(tree);
    else follow(before, tree, at);
    const counts = {
      files: 500 + at,
      folders: 7,
      bytes: 1e9 + at * 37e6,
      new_bytes: at === 1 ? 1e9 : 37e6 + (at % 3) * 4e7,
      new: at,
    };
    const isOdd = at === count - 1;
    const record = recordOf(
      client.name,
      time,
      counts,
      isOdd ? { state: 'incomplete', flags: ['host-errors'] } : {},
    );
    writeFileSync(`${client.folder}/snapshots/${name}/snapshot.json`, JSON.stringify(record));
    const line = {
      time: record.finished,
      event: 'run',
      peer: '192.0.2.7',
      outcome: record.state,
      code: null,
      snapshot: name,
      reason: null,
      duration_ms: 65_000 + at,
    };
    appendFileSync(
      `${client.folder}/journal.jsonl`,
      `${JSON.stringify({ ...line, event: 'committed' })}\n${JSON.stringify(line)}\n`,
    );
    before = tree;
    names.push(name);
  }
  return names;
}

/**
 * Makes the clients: `oak` has snapshots, `ash` has none, `elm` has one that is old, and runs that failed.
 * @returns the names of the snapshots of `oak`, oldest first
 */
export function plantClients(makeClient: (name: string) => ClientStore, now: Date): string[] {
  const [oak, , elm] = ['oak', 'ash', 'elm'].map(makeClient) as [ClientStore, ClientStore, ClientStore];
  const snapshots = makeSnapshots(oak, 8, now);
  makeSnapshots(elm, 1, new Date(now.getTime() - 40 * DAY_MS));
  writeFileSync(`${oak.folder}/snapshots/${snapshots[1]}/pinned`, '<i>before</i> the \u202Eupgrade\n');
  const failure = {
    time: now.toISOString(),
    event: 'run',
    outcome: 'failed',
    code: 'rsync',
    snapshot: null,
    reason: `<script>${ATTACK}</script> \u202E failed`,
  };
  appendFileSync(`${elm.folder}/journal.jsonl`, `${JSON.stringify(failure)}\n`.repeat(4));
  return snapshots;
}

/** A store with hostile contents. */
export interface WebStore {
  /** The folder of the store. */
  store: string;
  /** The names of the snapshots of the client `oak`, oldest first. */
  snapshots: string[];
  now: Date;
}

/** Makes a store with these clients and their indexes. @param folder that exists and is empty */
export async function makeWebStore(folder: string, now = new Date()): Promise<WebStore> {
  const store = `${folder}/store`;
  createStore(store);
  const snapshots = plantClients(name => createClient(store, name), now);
  for (const name of ['oak', 'elm']) {
    await using held = new AsyncDisposableStack();
    await openIndex(held, openClient(store, name));
  }
  return { store, snapshots, now };
}
