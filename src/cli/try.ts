/**
 * `dialback try [DIR]`: the whole of dialback on one machine, with real ssh, sshd and rsync, told step by step. As root
 * it makes two temporary users, a client and a host, that do not trust each other; otherwise one user plays both.
 * Whatever it makes, it removes.
 */
import { createServer } from 'node:net';
import { EXIT, Fault } from '../fault.ts';
import { ownAccount } from '../os/account.ts';
import { monotonicMs } from '../os/clock.ts';
import { readWhole } from '../os/content.ts';
import { isPackaged, ownExecutable } from '../os/executable.ts';
import {
  appendText,
  chmod,
  chown,
  copyFile,
  exists,
  link,
  makeFolder,
  makeUniqueFolder,
  readdir,
  removeAll,
  stat,
  symlink,
  truncate,
  unlink,
} from '../os/files.ts';
import {
  type Child,
  type Command,
  PLAIN_ENVIRONMENT,
  type Result,
  run,
  standard,
  start,
} from '../os/process.ts';
import { endCommand } from '../os/process-table.ts';
import { hasProgram } from '../os/programs.ts';
import { randomHex } from '../os/random.ts';
import { writeNew } from '../os/replace.ts';
import { say } from '../os/streams.ts';
import { showBytes, showDuration } from '../output/units.ts';
import { NANOSECONDS } from '../wire/rsync.ts';
import { escapeText } from '../wire/text.ts';

const NAME = 'try';

/** One of the two who take part. */
interface Party {
  login: string;
  home: string;
  /** Undefined: the one user who runs this. */
  account: { uid: number; gid: number } | undefined;
}

interface Stage {
  base: string;
  binary: string;
  isRootUser: boolean;
  client: Party;
  host: Party;
  data: string;
  held: AsyncDisposableStack;
  signal: AbortSignal;
}

/** Runs it. @param folder what to back up a copy of; undefined: a small sample of its own making */
export async function tryOut(folder: string | undefined, signal: AbortSignal): Promise<number> {
  if (!isPackaged()) {
    throw new Fault({
      tried: 'try dialback out',
      found: 'this is not the packaged executable',
      next: 'make try',
      exit: 'usage',
    });
  }
  for (const program of ['sshd', 'ssh', 'rsync']) standard(program, []); // a Fault that names the package
  if (folder !== undefined && !(exists(folder) && stat(folder).isDirectory())) {
    throw new Fault({
      tried: `back up "${escapeText(folder)}"`,
      found: 'there is no such folder',
      exit: 'usage',
    });
  }
  const started = monotonicMs();
  tell('dialback try: a backup and a restore on this machine, with real ssh, sshd and rsync\n\n');
  {
    await using held = new AsyncDisposableStack();
    const stage = await setUp(held, signal);
    await fillData(stage, folder);
    const port = await startHostSshd(stage);
    await enrolClient(stage, port);
    await playRuns(stage);
  }
  tell(
    `\nAll of it is removed again: users, keys, store, copy. It took ${showDuration(monotonicMs() - started)}.\n`,
  );
  return EXIT.done;
}

function tell(text: string): void {
  say(1, text);
}

let stepNumber = 0;

/** One step of the story. */
function step(title: string, detail: string): void {
  stepNumber += 1;
  tell(`${String(stepNumber).padStart(2)}. ${title}\n      ${detail.split('\n').join('\n      ')}\n`);
}

async function setUp(held: AsyncDisposableStack, signal: AbortSignal): Promise<Stage> {
  const self = ownAccount();
  const isRootUser = self.uid === 0;
  const parent = isRootUser ? '/tmp' : `${self.home}/.local/state`;
  if (!isRootUser) makeFolder(parent, { parents: true });
  const base = makeUniqueFolder(`${parent}/dialback-try-`);
  held.defer(() => removeAll(base));
  if (isRootUser) chmod(base, 0o755); // the two users have their homes in it
  const binary = `${base}/dialback`;
  copyFile(ownExecutable(), binary); // a checkout may be where others can write or may not look
  chmod(binary, 0o755);
  const client = isRootUser
    ? await makeUser(held, base, 'client')
    : { login: self.name, home: `${base}/client`, account: undefined };
  const host = isRootUser
    ? await makeUser(held, base, 'host')
    : { login: self.name, home: `${base}/host`, account: undefined };
  for (const party of [client, host]) {
    makeFolder(party.home);
    makeFolder(`${party.home}/.ssh`);
    own(party, party.home, `${party.home}/.ssh`);
  }
  if (isRootUser) {
    step(
      'Two users who do not trust each other',
      `${client.login} is the client, ${host.login} the backup host; neither is root.`,
    );
  } else {
    step(
      'One user plays both sides',
      `${self.name} is client and backup host; run as root, this makes two users instead.`,
    );
  }
  // What makes the manifest of the last snapshot outlives its run.
  held.defer(() => endCommand(binary));
  return { base, binary, isRootUser, client, host, data: `${client.home}/data`, held, signal };
}

async function makeUser(held: AsyncDisposableStack, base: string, role: 'client' | 'host'): Promise<Party> {
  const login = `dbtry-${role}-${randomHex(2)}`;
  const home = `${base}/${role}`;
  const args = [
    '--system',
    '--user-group',
    '--no-create-home',
    '--home-dir',
    home,
    '--shell',
    '/bin/sh',
    login,
  ];
  await must(standard('useradd', args), 'make a temporary user');
  held.defer(async () => {
    await must(standard('userdel', [login]), `remove the temporary user "${login}"`);
  });
  const id = async (which: string): Promise<number> =>
    Number((await must(standard('id', [which, login]), 'find out the new user')).stdout.toString());
  return { login, home, account: { uid: await id('-u'), gid: await id('-g') } };
}

function own(party: Party, ...paths: string[]): void {
  if (party.account) for (const path of paths) chown(path, party.account.uid, party.account.gid);
}

/** Runs a program that has to succeed. */
async function must(command: Command, tried: string, signal?: AbortSignal): Promise<Result> {
  const result = await run(command, { timeoutMs: 600_000, ...(signal ? { signal } : {}) });
  if (result.status === 0) return result;
  const words = result.stderr.trim() || result.stdout.toString('utf8').trim();
  throw new Fault({
    tried,
    found: escapeText(words, 2000) || `${command.program} ended with status ${result.status}`,
  });
}

/** A command as one of the two. */
function as(party: Party, command: Command): Command {
  return {
    ...command,
    environment: { ...command.environment, HOME: party.account ? party.home : ownAccount().home },
    ...(party.account ? { account: party.account } : {}),
  };
}

/** dialback itself as one of the two. */
function dialback(stage: Stage, party: Party, args: string[]): Command {
  return as(party, { program: stage.binary, args, environment: PLAIN_ENVIRONMENT });
}

async function fillData(stage: Stage, folder: string | undefined): Promise<void> {
  const { data, client, signal } = stage;
  if (folder === undefined) {
    makeFolder(data, { mode: 0o755 });
    await makeSample(stage);
  } else {
    await must(
      standard('rsync', ['-aHAXS', '--numeric-ids', '--', `${folder}/`, `${data}/`]),
      `copy "${escapeText(folder)}"`,
      signal,
    );
    await must(standard('chmod', ['-R', 'u+rX', '--', data]), 'make the copy readable', signal);
    if (client.account) {
      const owner = `${client.account.uid}:${client.account.gid}`;
      await must(
        standard('chown', ['-R', '--no-dereference', owner, '--', data]),
        'give the copy to the client',
        signal,
      );
    }
  }
  const { files, bytes } = await measure(data);
  const what =
    folder === undefined
      ? 'a sample: odd names, links, holes, several kinds'
      : `a copy of ${escapeText(folder)}, since it gets changed`;
  step('Something to back up', `${files} files, ${showBytes(bytes)}: ${what}.`);
}

async function makeSample(stage: Stage): Promise<void> {
  const { data, client, isRootUser } = stage;
  for (const name of ['documents', 'documents/two words', 'photos', 'empty folder'])
    makeFolder(`${data}/${name}`, { mode: 0o755 });
  for (let index = 0; index < 200; index += 1)
    writeNew(`${data}/documents/note ${index}.txt`, `note ${index}\n`.repeat(index + 1), { mode: 0o640 });
  for (let index = 0; index < 8; index += 1)
    writeNew(`${data}/photos/${index}.raw`, Buffer.from(randomHex(512 * 1024), 'hex'), { mode: 0o644 });
  writeNew(`${data}/documents/two words/line\nbreak`, 'a name with a line break\n');
  writeNew(`${data}/documents/-rf *`, 'a name like an option\n');
  writeNew(`${data}/documents/private`, 'only its owner may read this\n', { mode: 0o400 });
  link(`${data}/photos/0.raw`, `${data}/documents/the same photo.raw`);
  symlink('../photos/1.raw', `${data}/documents/a link`);
  symlink('nowhere', `${data}/documents/a dangling link`);
  writeNew(`${data}/disk.img`, 'a few bytes, then a hole\n', { mode: 0o600 });
  truncate(`${data}/disk.img`, 64 * 1024 * 1024);
  await must(standard('mkfifo', ['--', `${data}/a fifo`]), 'make a FIFO');
  if (client.account) {
    const owner = `${client.account.uid}:${client.account.gid}`;
    await must(
      standard('chown', ['-R', '--no-dereference', owner, '--', data]),
      'give the sample to the client',
    );
  }
  if (!isRootUser) return;
  writeNew(`${data}/a setuid program`, '#!/bin/false\n', { mode: 0o755 });
  chmod(`${data}/a setuid program`, 0o4755); // root's own, and stays so in the backup
  await must(standard('mknod', ['--', `${data}/a device`, 'c', '1', '3']), 'make a device');
  if (hasProgram('setfacl')) {
    await must(standard('setfacl', ['-m', 'u:4242:r', '--', `${data}/documents/note 1.txt`]), 'set an ACL');
  }
}

async function measure(folder: string): Promise<{ files: number; bytes: number }> {
  const { stdout } = await must(
    standard('find', [folder, '!', '-type', 'd', '-printf', '%s\\n']),
    `look through "${folder}"`,
  );
  const sizes = stdout
    .toString('utf8')
    .split('\n')
    .filter(line => line !== '');
  return { files: sizes.length, bytes: sizes.reduce((sum, size) => sum + Number(size), 0) };
}

/** The host's ordinary sshd, here as the host's user and on loopback only; it is there as long as this is. */
async function startHostSshd(stage: Stage): Promise<number> {
  const { host, held, signal } = stage;
  const folder = `${host.home}/sshd`;
  makeFolder(folder);
  own(host, folder);
  await must(
    as(host, standard('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', '', '-f', `${folder}/key`])),
    'make a host key',
    signal,
  );
  const lines = [
    `HostKey ${folder}/key`,
    `AuthorizedKeysFile ${host.home}/.ssh/authorized_keys`,
    'AuthenticationMethods publickey',
    'UsePAM no',
    'PidFile none',
    'PrintMotd no',
    'PrintLastLog no',
  ];
  writeNew(`${folder}/config`, lines.map(line => `${line}\n`).join(''));
  own(host, `${folder}/config`);
  const children = new Set<Child>();
  const server = createServer({ pauseOnConnect: true }, socket => {
    const command = as(host, standard('sshd', ['-i', '-e', '-f', `${folder}/config`]));
    void start(command, [socket, socket, 'nothing']).then(child => {
      socket.destroy();
      children.add(child);
      void child.exited.then(() => children.delete(child));
    });
  });
  held.defer(async () => {
    server.close();
    await Promise.all([...children].map(child => child.end()));
  });
  const port = await new Promise<number>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      resolve(typeof address === 'object' && address ? address.port : 0);
    });
  });
  return port;
}

async function enrolClient(stage: Stage, port: number): Promise<void> {
  const { client, host, signal } = stage;
  const key = `${client.home}/.ssh/id_ed25519`;
  await must(
    as(client, standard('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'try', '-f', key])),
    'make a key',
    signal,
  );
  const hostKey = readWhole(`${host.home}/sshd/key.pub`, 4096).toString('utf8').trim();
  writeNew(`${client.home}/known_hosts`, `[127.0.0.1]:${port} ${hostKey}\n`);
  writeNew(
    `${client.home}/client.toml`,
    [
      `name = "${NAME}"`,
      `state = "${client.home}/state"`,
      '[[remote]]',
      `name = "here"`,
      `target = "ssh://${host.login}@127.0.0.1:${port}"`,
      `identity = "${key}"`,
      `known_hosts = "${client.home}/known_hosts"`,
      'from = ["127.0.0.1"]',
      'listen = "127.0.0.1:0"',
      '[scope]',
      `roots = ["${stage.data}"]`,
      '',
    ].join('\n'),
  );
  writeNew(`${host.home}/host.toml`, `store = "${host.home}/store"\nsyslog = false\n`);
  writeNew(`${host.home}/client.pub`, readWhole(`${key}.pub`, 4096));
  own(client, `${client.home}/known_hosts`, `${client.home}/client.toml`);
  own(host, `${host.home}/host.toml`, `${host.home}/client.pub`);
  const args = ['enroll', NAME, `${host.home}/client.pub`, '--config', `${host.home}/host.toml`];
  await must(
    dialback(stage, host, [...args, '--authorized-keys', `${host.home}/.ssh/authorized_keys`]),
    'enrol the client',
    signal,
  );
  const target = [
    '-F',
    'none',
    '-i',
    key,
    '-o',
    `UserKnownHostsFile=${client.home}/known_hosts`,
    '-o',
    'BatchMode=yes',
  ];
  const asked = await run(
    as(client, standard('ssh', [...target, '-p', String(port), `${host.login}@127.0.0.1`, 'id'])),
    { signal },
  );
  if (asked.status === 0 || asked.stdout.length > 0) {
    throw new Fault({ tried: 'see the enrolled key refused', found: 'it got something else than a refusal' });
  }
  step(
    'The client is enrolled',
    'Its key may ask for one thing, a backup of itself. Asked with it for `id`, the host refused.',
  );
}

/** A finished run: what `backup --json` said last. */
interface Done {
  outcome: string;
  snapshot: string;
  files: number;
  bytes: number;
  transferred_bytes: number;
  duration_ms: number;
  missing_count: number;
}

async function backUp(stage: Stage): Promise<Done> {
  const result = await run(
    dialback(stage, stage.client, ['backup', '--json', '--config', `${stage.client.home}/client.toml`]),
    {
      signal: stage.signal,
      timeoutMs: 3_600_000,
    },
  );
  const last = result.stdout.toString('utf8').trim().split('\n').at(-1) ?? '';
  if (result.status === EXIT.done) return JSON.parse(last) as Done;
  const journal = `${stage.host.home}/store/clients/${NAME}/journal.jsonl`;
  const log = exists(journal)
    ? readWhole(journal, 1024 * 1024)
        .toString('utf8')
        .trim()
        .split('\n')
        .at(-1)
    : undefined; // it was not called
  const { error = last || result.stderr, next } = failureOf(last);
  const words = log === undefined ? '' : `; the host's journal says: ${escapeText(log, 2000)}`;
  throw new Fault({
    tried: 'back up',
    found: `${escapeText(error, 2000)}${words}`,
    ...(next ? { next } : {}),
  });
}

/** What a run that failed said of itself. */
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

async function playRuns(stage: Stage): Promise<void> {
  const { client, host, data } = stage;
  const first = await backUp(stage);
  step(
    'First backup',
    `The client made a one-time key, listened, and called; the host dialled back, was let in once, and read.\n${first.files} files, ${showBytes(first.bytes)}; ${showBytes(first.transferred_bytes)} sent, in ${showDuration(first.duration_ms)}.`,
  );
  const journal = readWhole(`${client.home}/state/journal.jsonl`, 1024 * 1024).toString('utf8');
  const grants = journal.split('\n').filter(line => line.includes('"event":"granted"')).length;
  const left = readdir(`${client.home}/state`).filter(name => name.startsWith('run-'));
  if (left.length > 0 || grants !== 1) {
    throw new Fault({
      tried: 'see the run over',
      found: `${grants} grants on record, left over: ${left.join(', ') || 'nothing'}`,
    });
  }
  step(
    'What is left of it on the client',
    'No key, no listener, no sshd; one line in its journal: who read, when, and with which command.',
  );

  const changed = await changeData(stage);
  const second = await backUp(stage);
  const record = JSON.parse(
    readWhole(
      `${host.home}/store/clients/${NAME}/snapshots/${second.snapshot}/snapshot.json`,
      1024 * 1024,
    ).toString('utf8'),
  ) as { counts: { linked: number; new: number; content_changed: number; attributes_changed: number } };
  const { counts } = record;
  step(
    `Second backup, after ${changed}`,
    `${showBytes(second.transferred_bytes)} sent, in ${showDuration(second.duration_ms)}. The new snapshot is a whole tree too: ${counts.linked} of its files are\nhard links to the first one, ${counts.new} new, ${counts.content_changed} with other content, ${counts.attributes_changed} with other attributes.`,
  );

  const target = stage.isRootUser ? `${stage.base}/restored` : `${client.home}/restored`;
  const args = ['restore', NAME, '--to', target, '--config', `${host.home}/host.toml`];
  const restored = await run(
    { program: stage.binary, args, environment: { ...PLAIN_ENVIRONMENT, HOME: ownAccount().home } },
    { signal: stage.signal, timeoutMs: 3_600_000 },
  );
  // Without root the folders above the data, which are others', come back as our own: exit 3.
  const isGood = restored.status === EXIT.done || (!stage.isRootUser && restored.status === EXIT.incomplete);
  if (!isGood) throw new Fault({ tried: 'restore', found: escapeText(restored.stderr, 4000) });
  // rsync as the judge: content by checksum, and every attribute that it knows, times to the nanosecond.
  const judge = [
    '-n',
    '-i',
    '-aHAXS',
    '--numeric-ids',
    '--checksum',
    '--delete',
    NANOSECONDS,
    '--',
    `${data}/`,
    `${target}${data}/`,
  ];
  const differences = (await must(standard('rsync', judge), 'compare', stage.signal)).stdout
    .toString('latin1')
    .trim();
  if (differences !== '')
    throw new Fault({ tried: 'find the restored files equal', found: escapeText(differences, 4000) });
  const who = stage.isRootUser ? 'as root' : 'without root (folders above the data come back as our own)';
  step(
    `Restored ${who}, and compared`,
    `${second.files} files: content, owners, modes, times, ACLs, xattrs, links: equal.`,
  );
}

/** Changes a little, as a day does. @returns what, in words */
async function changeData(stage: Stage): Promise<string> {
  const { client, data } = stage;
  writeNew(`${data}/written since.txt`, 'new since the first backup\n');
  own(client, `${data}/written since.txt`);
  const { stdout } = await must(
    standard('find', [
      data,
      '-type',
      'f',
      '-links',
      '1',
      '-size',
      '+0',
      '-perm',
      '-u+w',
      '!',
      '-perm',
      '/6000',
      '-print0',
    ]),
    'look for files to change',
  );
  // Only names that are UTF-8 can be handed on as arguments.
  const names = stdout
    .toString('utf8')
    .split('\0')
    .filter(name => name !== '' && !name.includes('\ufffd') && !name.endsWith('since.txt'))
    .sort();
  const [grown, reowned, removed] = names;
  const did = ['a new file'];
  if (grown) {
    appendText(grown, 'grown\n');
    did.push('one that grew');
  }
  if (reowned) {
    chmod(reowned, (stat(reowned).mode & 0o777) ^ 0o040);
    did.push('a chmod');
  }
  if (removed) {
    unlink(removed);
    did.push('one removed');
  }
  return did.join(', ');
}
