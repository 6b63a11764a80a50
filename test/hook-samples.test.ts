// share/hooks: each is run as a backup would run it. SQLite's and the two that send go against the real thing, those for
// PostgreSQL, MariaDB, LVM, btrfs and NetworkManager against programs of the test that write down their arguments.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import {
  accessSync,
  chmodSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { join } from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import { matching, says, wording } from './support/wording.ts';

const HOOKS = join(import.meta.dirname, '..', 'share/hooks');
const NAMES = readdirSync(HOOKS).sort();
const SYSTEM_PATH = '/usr/bin:/bin:/usr/sbin:/sbin';

interface Ended {
  status: number | null;
  output: string;
}

let top = '';
/** Programs of the test's, which go before the system's. */
let fakes = '';
before(() => {
  top = mkdtempSync('/tmp/dialback samples-');
});
after(() => {
  rmSync(top, { recursive: true, force: true });
});
beforeEach(() => {
  rmSync(top, { recursive: true, force: true });
  fakes = join(top, 'bin');
  mkdirSync(fakes, { recursive: true });
});

/** Runs a sample, with the environment that a hook has, on fakes first. */
async function run(name: string, args: string[], told: Record<string, string> = {}): Promise<Ended> {
  const facts = Object.fromEntries(Object.entries(told).map(([key, value]) => [`DIALBACK_${key}`, value]));
  const child = spawn(name.startsWith('/') ? name : join(HOOKS, name), args, {
    cwd: '/',
    env: { PATH: `${fakes}:${SYSTEM_PATH}`, LC_ALL: 'C', HOME: top, ...facts },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  return await new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', status => resolve({ status, output }));
  });
}

/** A program that writes its name and its arguments down, and then does what `lines` say. */
function fake(name: string, ...lines: string[]): void {
  const note = `{ printf '%s' ${name}; [ $# = 0 ] || printf ' <%s>' "$@"; echo; } >>'${top}/calls'`;
  writeFileSync(join(fakes, name), ['#!/bin/sh', note, ...lines, ''].join('\n'));
  chmodSync(join(fakes, name), 0o755);
}

const calls = (): string[] =>
  existsSync(join(top, 'calls')) ? readFileSync(join(top, 'calls'), 'utf8').trimEnd().split('\n') : [];

describe('share/hooks', () => {
  for (const name of NAMES) {
    const text = readFileSync(join(HOOKS, name), 'utf8');

    it(`${name} is a shell script that may be run, and that sh and shellcheck have nothing to say against`, () => {
      accessSync(join(HOOKS, name), constants.X_OK);
      assert.match(text, /^#!\/bin\/sh\n# dialback hook: /);
      assert.match(text, /^set -eu$/m);
      execFileSync('/bin/sh', ['-n', join(HOOKS, name)]);
      // Not every machine has it; where it is, it has its say.
      if (existsSync('/usr/bin/shellcheck'))
        execFileSync('/usr/bin/shellcheck', ['-s', 'sh', join(HOOKS, name)]);
    });

    it(`${name} says at its beginning what to set, with its own path where it is installed`, () => {
      const head = text.slice(0, text.indexOf('\nset -eu'));
      assert.match(head, /\[hooks\]/);
      assert.ok(head.includes(`/usr/local/share/dialback/hooks/${name}`));
      for (const line of text.split('\n')) assert.ok(line.length <= 128, line);
    });
  }

  it('are those that `dialback help hooks` names', async () => {
    const { hooksHelp } = await import('../src/shared/hooks-text.ts');
    const list = hooksHelp().split('\nSamples\n')[1] ?? '';
    const names = [...list.matchAll(/^ {2}([a-z-]+) {2,}\S/gm)].map(([, name]) => name);
    assert.deepEqual(names.sort(), NAMES);
  });
});

describe('sqlite', () => {
  const make = (path: string, rows: number): void => {
    const sql = `PRAGMA journal_mode = wal; CREATE TABLE t (x); WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < ${rows}) INSERT INTO t SELECT n FROM c;`;
    execFileSync('/usr/bin/sqlite3', [path, sql]);
  };
  const count = (path: string): string =>
    execFileSync('/usr/bin/sqlite3', [path, 'PRAGMA integrity_check; SELECT count(*) FROM t']).toString();

  it('copies databases of any name, whole, and replaces an older copy', async () => {
    const [plain, odd] = [join(top, 'app.db'), join(top, `it's a "data" base`)];
    make(plain, 10);
    make(odd, 20);
    const to = join(top, 'the dumps');
    mkdirSync(to);
    for (let round = 0; round < 2; round += 1)
      assert.deepEqual(await run('sqlite', [to, plain, odd]), { status: 0, output: '' });
    const [first = '', second = '', ...others] = readdirSync(to).sort();
    assert.deepEqual(
      [others, first, second],
      [[], ...[plain, odd].map(path => path.slice(1).replaceAll('/', '%'))],
    );
    assert.deepEqual(
      [first, second].map(name => count(join(to, name))),
      ['ok\n10\n', 'ok\n20\n'],
    );
  });

  it('copies while somebody writes', async () => {
    const path = join(top, 'busy.db');
    make(path, 5);
    const writer = spawn('/usr/bin/sqlite3', [path], { stdio: ['pipe', 'pipe', 'inherit'] });
    writer.stdin.write("BEGIN IMMEDIATE; INSERT INTO t VALUES ('not committed'); SELECT 'written';\n");
    await new Promise(resolve => writer.stdout.once('data', resolve));
    const ended = await run('sqlite', [top, path]);
    writer.stdin.end('ROLLBACK;\n');
    await new Promise(resolve => writer.once('close', resolve));
    assert.deepEqual(ended, { status: 0, output: '' });
    assert.equal(count(join(top, path.slice(1).replaceAll('/', '%'))), 'ok\n5\n');
  });

  it('fails by name, and keeps the last copy', async () => {
    const path = join(top, 'app.db');
    make(path, 10);
    assert.equal((await run('sqlite', [top, path])).status, 0);
    writeFileSync(path, 'this is no database, and long enough to be looked at'.repeat(100));
    const { status, output } = await run('sqlite', [top, path]);
    assert.notEqual(status, 0);
    assert.match(output, /not a database/);
    assert.equal(count(join(top, path.slice(1).replaceAll('/', '%'))), 'ok\n10\n');
    for (const [args, words] of [
      [[], /the folder is not named/],
      [[top], /no database is named/],
      [[top, 'app.db'], /it is no absolute path/],
      [[top, join(top, 'none')], says('there-is-no-such-file')],
    ] as const) {
      const refused = await run('sqlite', [...args]);
      assert.notEqual(refused.status, 0);
      assert.match(refused.output, words);
    }
    assert.ok(!existsSync(join(top, 'none')), 'sqlite3 has made none');
  });
});

for (const [name, program, args] of [
  ['postgresql', 'pg_dumpall', '<--no-password> <--no-role-passwords> <--host=a b>'],
  [
    'mariadb',
    'mariadb-dump',
    '<--host=a b> <--all-databases> <--single-transaction> <--quick> <--routines> <--events> <--triggers>',
  ],
] as const) {
  describe(name, () => {
    it('puts a dump into its place when it is whole, for nobody else to read', async () => {
      fake(program, 'echo first');
      assert.deepEqual(await run(name, [top, '--host=a b']), { status: 0, output: '' });
      assert.deepEqual(calls(), [`${program} ${args}`]);
      assert.equal(readFileSync(join(top, 'all.sql'), 'utf8'), 'first\n');
      assert.equal(execFileSync('/usr/bin/stat', ['-c', '%a', join(top, 'all.sql')]).toString(), '600\n');
      fake(program, 'echo half', 'echo "cannot connect" >&2', 'exit 3');
      assert.deepEqual(await run(name, [top]), { status: 3, output: 'cannot connect\n' });
      assert.equal(readFileSync(join(top, 'all.sql'), 'utf8'), 'first\n');
    });

    it('fails without a folder, or with one that is not there', async () => {
      fake(program);
      assert.notEqual((await run(name, [])).status, 0);
      assert.notEqual((await run(name, [join(top, 'none')])).status, 0);
      assert.deepEqual(calls(), []);
    });
  });
}

describe('what sends', () => {
  let server: Server;
  let url = '';
  let answer = 200;
  const heard: { path: string; headers: IncomingMessage['headers']; text: string }[] = [];
  before(async () => {
    server = createServer((request, response) => {
      let text = '';
      request.setEncoding('utf8').on('data', chunk => {
        text += chunk;
      });
      request.on('end', () => {
        heard.push({ path: request.url ?? '', headers: request.headers, text });
        response.writeHead(answer).end();
      });
    });
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    url = `http://127.0.0.1:${typeof address === 'object' && address ? address.port : 0}`;
  });
  after(async () => {
    server.closeAllConnections();
    await new Promise(resolve => server.close(resolve));
  });
  beforeEach(() => {
    heard.length = 0;
    answer = 200;
  });
  const REASON = `${wording('cannot-back-up-to')} "vault": it is off @/etc/passwd`;

  it('healthchecks tells of each moment', async () => {
    const file = join(top, 'the url');
    writeFileSync(file, `${url}/ping/0a1b-2c\n`);
    const moments: [told: Record<string, string>, path: string, text: string][] = [
      [{ HOOK: 'before' }, '/start', 'laptop begins '],
      [
        { HOOK: 'after', OUTCOME: 'full', SNAPSHOT: '2026-11-23T00-00-00Z' },
        '',
        'laptop full 2026-11-23T00-00-00Z',
      ],
      [{ HOOK: 'after', OUTCOME: 'incomplete', SNAPSHOT: 'x' }, '/fail', 'laptop incomplete x'],
      [{ HOOK: 'failed', OUTCOME: 'failed', REASON }, '/fail', `laptop failed ${REASON}`],
    ];
    for (const [told, path, text] of moments) {
      assert.deepEqual(await run('healthchecks', [file], { CLIENT: 'laptop', ...told }), {
        status: 0,
        output: '',
      });
      assert.deepEqual([heard.at(-1)?.path, heard.at(-1)?.text], [`/ping/0a1b-2c${path}`, text]);
    }
  });

  it('healthchecks holds up no backup where nobody answers, and says so', async () => {
    const file = join(top, 'url');
    answer = 404;
    writeFileSync(file, url); // without a newline at its end
    const { status, output } = await run('healthchecks', [file], { HOOK: 'after', OUTCOME: 'full' });
    assert.equal(status, 0);
    assert.match(output, /Cannot ping the monitor \(curl's exit status is 22\)/);
    assert.equal(heard.length, 1);
  });

  it('healthchecks refuses what is no address, and a call by hand', async () => {
    const file = join(top, 'url');
    for (const text of [
      '',
      '\n',
      'ftp://x\n',
      '/etc/passwd\n',
      'http://x" \noutput = "/x\n',
      'http://x"\n',
    ]) {
      writeFileSync(file, text);
      const { status, output } = await run('healthchecks', [file], { HOOK: 'before' });
      assert.equal(status, 1, text);
      assert.match(output, matching`${says('does-not-begin-with')} an address`);
    }
    writeFileSync(file, url);
    assert.match((await run('healthchecks', [file])).output, /DIALBACK_HOOK is not set/);
    assert.notEqual((await run('healthchecks', [join(top, 'none')], { HOOK: 'before' })).status, 0);
    assert.deepEqual(heard, []);
  });

  it('ntfy sends what its file names, with the reason', async () => {
    const file = join(top, 'ntfy.curl');
    writeFileSync(file, `url = "${url}/topic"\nheader = "Authorization: Bearer tk_x"\n`);
    const told = { HOOK: 'failed', CLIENT: 'laptop', REMOTE: 'vault', OUTCOME: 'failed', REASON };
    assert.deepEqual(await run('ntfy', [file], told), { status: 0, output: '' });
    const [{ path, headers, text } = { path: '', headers: {}, text: '' }] = heard;
    assert.deepEqual([path, text], ['/topic', `${REASON}\n`]);
    assert.deepEqual(
      [headers.title, headers.priority, headers.tags, headers.authorization],
      ['Backup of laptop to vault: failed', 'high', 'warning', 'Bearer tk_x'],
    );
    assert.equal((await run('ntfy', [file], { CLIENT: 'nas', OUTCOME: 'full', SNAPSHOT: 's' })).status, 0);
    assert.deepEqual(
      [heard[1]?.headers.title, heard[1]?.headers.priority, heard[1]?.text],
      ['Backup of nas: full', 'low', 's\n'],
    );
  });

  it('ntfy fails where it could not send', async () => {
    const file = join(top, 'ntfy.curl');
    writeFileSync(file, `url = "${url}/topic"\n`);
    answer = 403;
    const { status, output } = await run('ntfy', [file], { CLIENT: 'x' });
    assert.deepEqual([status, /403/.test(output)], [22, true]);
    assert.match((await run('ntfy', [join(top, 'none')], { CLIENT: 'x' })).output, /cannot be read/);
    assert.match((await run('ntfy', [file])).output, /DIALBACK_CLIENT is not set/);
    assert.equal(heard.length, 1);
  });
});

describe('packages', () => {
  it('writes the list, and passes the reason of a failure and its status on', async () => {
    fake('dialback', 'echo a table', 'echo "the reason" >&2', 'exit 2');
    const list = '/var/lib/a list';
    assert.deepEqual(await run('packages', [list, '--root', '/srv/x']), {
      status: 2,
      output: 'the reason\n',
    });
    assert.deepEqual(calls(), [`dialback <packages> <--write> <${list}> <--root> </srv/x>`]);
    assert.equal((await run('packages', [])).status, 2);
    assert.equal(calls().length, 1);
  });
});

describe('skip-on-battery', () => {
  const supply = (name: string, files: Record<string, string>): void => {
    mkdirSync(join(top, 'power', name), { recursive: true });
    for (const [file, text] of Object.entries(files))
      writeFileSync(join(top, 'power', name, file), `${text}\n`);
  };
  const battery = { type: 'Battery', status: 'Discharging' };
  for (const [what, supplies, status] of [
    ['on battery', { AC: { type: 'Mains', online: '0' }, BAT0: battery }, 75],
    ['on battery, with a charger that is off', { BAT0: battery, usb: { type: 'USB', online: '0' } }, 75],
    ['on one of two batteries', { BAT0: { type: 'Battery', status: 'Full' }, BAT1: battery }, 75],
    ['on mains', { AC: { type: 'Mains', online: '1' }, BAT0: battery }, 0],
    ['on USB', { BAT0: { type: 'Battery', status: 'Charging' }, usb: { type: 'USB', online: '1' } }, 0],
    ['with a full battery', { BAT0: { type: 'Battery', status: 'Full' } }, 0],
    ['with the battery of a mouse', { mouse: { ...battery, scope: 'Device' } }, 0],
    ['without any', {}, 0],
  ] as [string, Record<string, Record<string, string>>, number][])
    it(`ends with ${status} ${what}`, async () => {
      for (const [name, files] of Object.entries(supplies)) supply(name, files);
      const { status: found, output } = await run('skip-on-battery', [join(top, 'power')]);
      assert.deepEqual([found, output], [status, status === 75 ? 'on battery: not now\n' : '']);
    });
});

describe('skip-on-metered', () => {
  for (const [answer, status] of [
    ['yes', 75],
    ['yes (guessed)', 75],
    ['no', 0],
    ['no (guessed)', 0],
    ['unknown', 0],
    ['', 0],
  ] as const)
    it(`ends with ${status} where NetworkManager says "${answer}"`, async () => {
      fake('ip', '[ "$1" = -6 ] || echo "default via 192.0.2.1 dev wlan0 proto dhcp metric 600"');
      fake('nmcli', `echo '${answer}'`);
      const { status: found, output } = await run('skip-on-metered', []);
      assert.deepEqual([found, output], [status, status === 75 ? '"wlan0" is metered: not now\n' : '']);
      assert.deepEqual(
        calls().filter(each => each.startsWith('nmcli')),
        ['nmcli <-g> <GENERAL.METERED> <device> <show> <wlan0>'],
      );
    });

  it('ends with 0 where there is no way out, or no NetworkManager', async () => {
    fake('ip');
    assert.deepEqual(await run('skip-on-metered', []), { status: 0, output: '' });
    fake('ip', 'echo default dev eth0');
    fake('nmcli', 'exit 8');
    assert.deepEqual(await run('skip-on-metered', []), { status: 0, output: '' });
  });
});

describe('those of root', () => {
  /** They go by the system's folders alone, whatever the caller's PATH is: for the test, by ours too. */
  const withFakes = (name: string): string => {
    const text = readFileSync(join(HOOKS, name), 'utf8');
    assert.match(text, /^PATH=\/usr\/sbin:\/usr\/bin:\/sbin:\/bin$/m);
    const path = join(top, name);
    writeFileSync(path, text.replace(/^PATH=.*$/m, `PATH='${fakes}':${SYSTEM_PATH}`));
    chmodSync(path, 0o755);
    return path;
  };

  it('lvm-snapshot makes and mounts, and takes away what is its own', async () => {
    const hook = withFakes('lvm-snapshot');
    const state = join(top, 'state');
    mkdirSync(state);
    fake('lvs', `[ -e '${state}/made' ] && echo '  home'`);
    fake('lvcreate', `: >'${state}/made'`);
    fake('lvremove', `rm '${state}/made'`);
    fake('blkid', 'echo xfs');
    fake('mount', `: >'${state}/mounted'`);
    fake('umount', `rm '${state}/mounted'`);
    fake('mountpoint', `[ -e '${state}/mounted' ]`);
    fake('findmnt', 'echo /dev/vg0/home_dialback');
    fake('realpath', `for last; do :; done; echo "$last"`);
    const args = ['vg0/home', '5G', '/mnt/the backup'];
    assert.deepEqual(await run(hook, ['begin', ...args]), { status: 0, output: '' });
    const made = [
      'lvcreate <--quiet> <--yes> <--snapshot> <--size> <5G> <--name> <home_dialback> <vg0/home>',
      'mount <-o> <ro,nodev,nosuid,noexec,nouuid> <--> </dev/vg0/home_dialback> </mnt/the backup>',
    ];
    const removed = ['umount <--> </mnt/the backup>', 'lvremove <--yes> <--quiet> <vg0/home_dialback>'];
    const changing = (): string[] => calls().filter(each => /^(lvcreate|lvremove|mount|umount) /.test(each));
    assert.deepEqual(changing(), made);
    // What was left of a run that was killed goes first.
    assert.equal((await run(hook, ['begin', ...args])).status, 0);
    assert.deepEqual(changing(), [...made, ...removed, ...made]);
    assert.deepEqual(await run(hook, ['end', ...args]), { status: 0, output: '' });
    assert.deepEqual(await run(hook, ['end', ...args]), { status: 0, output: '' });
    assert.deepEqual(changing().slice(6), removed);

    fake('mount', 'exit 32');
    assert.equal((await run(hook, ['begin', ...args])).status, 1);
    assert.ok(!existsSync(join(state, 'made')), 'none is left where it could not be mounted');
    writeFileSync(join(state, 'mounted'), '');
    fake('findmnt', 'echo /dev/sdz1');
    const foreign = await run(hook, ['end', ...args]);
    assert.deepEqual(
      [foreign.status, foreign.output],
      [1, 'Cannot unmount "/mnt/the backup": "/dev/sdz1" is mounted there, and not the snapshot\n'],
    );
    rmSync(join(state, 'mounted'));
    writeFileSync(join(state, 'made'), '');
    fake('lvs', `echo '  other'`);
    const other = await run(hook, ['end', ...args]);
    assert.deepEqual(
      [other.status, other.output],
      [1, 'Cannot remove "vg0/home_dialback": it is no snapshot of "vg0/home"\n'],
    );
    for (const wrong of [
      [],
      ['end'],
      ['stop', ...args],
      ['begin', 'home', '5G', '/x'],
      ['begin', 'a/b', '5G', 'x'],
    ])
      assert.match((await run(hook, wrong)).output, /^usage: /);
  });

  it('btrfs-snapshot makes one, and deletes what is its own', async () => {
    const hook = withFakes('btrfs-snapshot');
    const snapshot = join(top, 'a snapshot');
    fake(
      'btrfs',
      'case $2 in',
      '  get) echo ro=true ;;',
      `  subvolume) if [ "$3" = delete ]; then rmdir "$4"; else for last; do :; done; mkdir "$last"; fi ;;`,
      'esac',
    );
    assert.deepEqual(await run(hook, ['begin', '/home', snapshot]), { status: 0, output: '' });
    assert.deepEqual(await run(hook, ['begin', '/home', snapshot]), { status: 0, output: '' });
    assert.deepEqual(await run(hook, ['end', '/home', snapshot]), { status: 0, output: '' });
    assert.deepEqual(await run(hook, ['end', '/home', snapshot]), { status: 0, output: '' });
    const made = `btrfs <-q> <subvolume> <snapshot> <-r> </home> <${snapshot}>`;
    const deleted = `btrfs <-q> <subvolume> <delete> <${snapshot}>`;
    assert.deepEqual(
      calls().filter(each => each.includes('<subvolume>')),
      [made, deleted, made, deleted],
    );
    mkdirSync(snapshot);
    fake('btrfs', 'echo ro=false');
    const { status, output } = await run(hook, ['end', '/home', snapshot]);
    assert.deepEqual([status, output], [1, `Cannot take "${snapshot}" away: it is no read-only snapshot\n`]);
    for (const wrong of [[], ['end', '/x'], ['stop', '/x', '/y'], ['begin', 'x', '/y'], ['begin', '/x', 'y']])
      assert.match((await run(hook, wrong)).output, /^usage: /);
  });
});
