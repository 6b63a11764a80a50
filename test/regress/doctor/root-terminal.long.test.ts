// Goal: root's terminal is out of reach for the accounts that root's `doctor` and `try` start. The account's start-up file
// looks for a terminal: with one it could type commands into root's shell (TIOCSTI), or read what root types.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chownSync,
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { asAccount } from '../../../src/os/account.ts';
import { exec, run, standard, start, startApart } from '../../../src/os/process.ts';
import { addUser, removeUser } from '../../support/accounts.ts';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { compileProgram } from '../../support/compiled.ts';
import { says } from '../../support/wording.ts';
import { makeFolder, NEEDS_ROOT, putExecutable } from '../../support/world.ts';

const TOP = join(import.meta.dirname, '../../..');

/** A terminal of its own, as root has one at a login: script(1), of every Debian. */
function onTerminal(command: string): ReturnType<typeof spawn> {
  return spawn('/usr/bin/script', ['--quiet', '--return', '--command', command, '/dev/null'], {
    cwd: '/',
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', HOME: '/root', TERM: 'dumb' },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
}

async function read(child: ReturnType<typeof spawn>): Promise<string> {
  let text = '';
  child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  await once(child, 'close');
  return text;
}

describe("root's terminal", { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  const login = 'dbtest-terminal';
  let base: string;
  let home: string;
  let binary: string;
  let probe: string;
  let found: string;

  before(() => {
    base = makeFolder('/var/lib');
    [home, binary, probe] = [join(base, 'home'), join(base, 'dialback'), join(base, 'probe')];
    found = join(home, 'found');
    putExecutable(binary, true);
    compileProgram(join(TOP, 'test/support/probe.c'), probe, ['-std=gnu17', '-O1', '-static', '-no-pie']);
    const { uid, gid } = addUser(login, { home, shell: '/bin/bash' });
    mkdirSync(home, { mode: 0o700 });
    // Bash reads it where it seems to be started over the network, as `doctor` starts it.
    const look = `"${probe}" --terminal "${found}"\n`;
    for (const name of ['.bashrc', '.profile', '.bash_profile']) writeFileSync(join(home, name), look);
    writeFileSync(join(home, 'client.toml'), 'name = "terminal"\n', { mode: 0o600 });
    for (const name of ['', ...readdirSync(home)]) chownSync(join(home, name), uid, gid);
  });
  after(() => {
    if (base === undefined) return;
    removeUser(login);
    rmSync(base, { recursive: true, force: true });
  });

  /** What the start-up file wrote. */
  function take(): string[] {
    const lines = readFileSync(found, 'utf8').trim().split('\n');
    rmSync(found);
    return lines;
  }

  it('is not to be had for the account that doctor asks', async () => {
    const said = await read(onTerminal(`'${binary}' doctor --json --config '${home}/client.toml'`));
    assert.match(said, says('on-behalf-of-root'));
    const lines = take();
    assert.deepEqual(
      lines.filter(line => !line.startsWith('looked as ')),
      [],
    );
    assert.ok(lines.length > 0, 'it did look');
  });

  it('gets nothing typed by what is run with the command that doctor names', async () => {
    const look = `'${probe}' --terminal '${found}'`;
    const ask = 'stty -icanon -echo min 0 time 2; echo "[$(dd bs=64 count=1 2>/dev/null | tr " " T)]"';
    const safe = await read(onTerminal(`${asAccount(login, look)}; ${ask}`));
    assert.ok(take().length > 0);
    assert.match(safe, /\[\]/, 'nothing was typed');
    // Without --pty it is: unless this kernel forbids that to everybody.
    const plain = await read(onTerminal(`${asAccount(login, look).replace(' --pty', '')}; ${ask}`));
    const typed = take().filter(line => line.startsWith('typed into '));
    assert.equal(/\[T+\]/.test(plain), typed.length > 0, plain);
  });

  it('is nowhere in what start() makes another account: its groups, no capability, and an end with us', async () => {
    execFileSync('/usr/sbin/usermod', ['--append', '--groups', 'daemon', login], { stdio: 'pipe' });
    const [uid, gid, daemon] = [
      ['-u', login],
      ['-g', login],
      ['-g', 'daemon'],
    ].map(words => Number(execFileSync('/usr/bin/id', words))) as [number, number, number];
    const account = { uid, gid };
    const dump = await run({ ...standard('setpriv', ['--dump']), account });
    const said = dump.stdout.toString();
    for (const line of [
      `uid: ${uid}`,
      `euid: ${uid}`,
      `gid: ${gid}`,
      'Inheritable capabilities: [none]',
      'Ambient capabilities: [none]',
      'Parent death signal: KILL',
    ])
      assert.ok(said.includes(`${line}\n`), `${line}\n${said}`);
    const groups = /^Supplementary groups: (.*)$/m.exec(said)?.[1]?.split(',').map(Number);
    assert.deepEqual(groups?.sort(), [gid, daemon].sort());
    const stat = (await run({ ...standard('cat', ['/proc/self/stat']), account })).stdout.toString();
    const [pid, , , , , session, controlling] = stat.split(' ').map(Number);
    assert.deepEqual({ session, controlling }, { session: pid, controlling: 0 });
    const terminal = openSync('/dev/ptmx', 'r+');
    await assert.rejects(
      start({ ...standard('true', []), account }, ['nothing', terminal, 'pipe']),
      says('it-would-have-our-terminal'),
    );
    closeSync(terminal);
    assert.throws(() => exec({ ...standard('true', []), account }), /another account/);
    await assert.rejects(startApart({ ...standard('true', []), account }), /another account/);
  });

  it('is not to be had for the users that try makes', async () => {
    const child = onTerminal(`'${binary}' try`);
    const ended = read(child);
    let isOver = false;
    void ended.then(() => {
      isOver = true;
    });
    const seen = new Map<string, number>();
    while (!isOver) {
      for (const each of processesOf(/^dbtry-/)) seen.set(each.command, each.terminal);
      await new Promise(resolve => setImmediate(resolve));
    }
    assert.match(await ended, says('all-of-it-is-removed'));
    assert.ok(seen.size > 0, 'some of their processes were seen');
    assert.deepEqual(
      [...seen].filter(([, terminal]) => terminal !== 0),
      [],
    );
  });
});

/** The processes of accounts with such a name, and the controlling terminal of each (proc_pid_stat(5)); 0 is none. */
function processesOf(name: RegExp): { command: string; terminal: number }[] {
  const uids = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map(line => line.split(':'))
    .filter(fields => name.test(fields[0] ?? ''))
    .map(fields => fields[2]);
  if (uids.length === 0) return [];
  return readdirSync('/proc').flatMap(pid => {
    if (!/^\d+$/.test(pid)) return [];
    try {
      const status = readFileSync(`/proc/${pid}/status`, 'latin1');
      if (!uids.includes(/^Uid:\t(\d+)/m.exec(status)?.[1] ?? '')) return [];
      const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      const command = readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ');
      return [{ command, terminal: Number(fields[4]) }];
    } catch {
      return []; // it has ended in between
    }
  });
}
