// Goal: at a terminal a backup tells on one line how far it is, no wider than the terminal; what stays on the screen is what
// a person has to know, and nothing else. What is no terminal, or one that cannot erase, gets none of it.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync, readlinkSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { itLong, some } from '../../support/long.ts';
import { matching, says, wording } from '../../support/wording.ts';
import { NEEDS_ROOT, type Running, until, World } from '../../support/world.ts';

const ERASE = '\r\x1b[K';
/** What a line that is written again needs, and lines that stay do not. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const REWRITTEN = /\x1b|\r(?!\n)/;
const CHANNEL = 'name = "vault"\ntransport = "channel"';
const SUMMARY =
  /^vault: backed up: 51 files and folders, [\d.]+ MiB, in snapshot \S+ \([\d.]+ \w+ sent, in [\d.]+ s\)$/;
/** What -v says besides. */
const COMPRESSION = 'vault: compressed with zstd';
const PHASES = [
  'vault: making one-time keys',
  `vault: ${wording('calling-the-backup-host')}`,
  `vault: ${wording('the-backup-host-connects-back')}`,
  `vault: ${wording('the-backup-host-was-let')}`,
  'vault: copying',
  `vault: ${wording('copied-the-backup-host-writes')}`,
];

/** What stands on a screen in the end: the lines, as a terminal of so many columns shows them. */
function screen(output: string, columns: number): string[] {
  const lines: string[][] = [[]];
  let column = 0;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: it is what a terminal obeys
  for (const [token] of output.matchAll(/\x1b\[K|\r|\n|[^\r\n]/gu)) {
    const line = lines.at(-1) ?? [];
    if (token === '\r') column = 0;
    else if (token === '\n') lines.push([]);
    else if (token === '\x1b[K') line.length = column;
    else {
      if (column === columns) {
        lines.push([]);
        column = 0;
      }
      (lines.at(-1) ?? [])[column] = token;
      column += 1;
    }
  }
  return lines.map(line => line.join('')).filter(line => line !== '');
}

/** All that the line has said; what has an end stays, and is no part of it. */
function drawn(output: string): string[] {
  return output
    .split(ERASE)
    .slice(1)
    .filter(each => each !== '' && !each.includes('\n'));
}

describe('a terminal', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let world: World;
  before(async () => {
    world = await World.make();
    for (let index = 0; index < 50; index += 1)
      writeFileSync(join(world.data, `file ${index}`), `content ${index}`);
    writeFileSync(join(world.data, 'large'), randomBytes(6_000_000));
  });
  after(async () => {
    await world.dispose();
  });

  /** A shell's script at a terminal of its own (script(1)). It is 200 columns wide unless the script says otherwise. */
  function typed(script: string, terminal = 'xterm'): Running {
    const args = ['-qec', `stty cols 200 -echoctl; ${script}`, '/dev/null'];
    return world.start(world.client, '/usr/bin/script', args, {
      environment: { TERM: terminal },
      keepsInput: true,
    });
  }

  const backup = (more = ''): string => `'${world.binary}' backup --config '${world.clientToml}' ${more}`;

  async function said(script: string, terminal?: string): Promise<{ status: number | null; stdout: string }> {
    const running = typed(script, terminal);
    const result = await running.done;
    await world.settled();
    return result;
  }

  /** The large file takes so long that it can be looked at. */
  function slowly(): void {
    writeFileSync(join(world.data, 'large'), randomBytes(6_000_000));
    world.configure({ limits: 'deadline = "5m"\nbwlimit = "1500K"' });
  }

  /** Starts one, and waits until it shows what has come. */
  async function underWay(script: string): Promise<{ running: Running; heard: () => string }> {
    const running = typed(script);
    let text = '';
    running.child.stdout?.on('data', (piece: string) => {
      text += piece;
    });
    await until('it tells how much it has copied', () => /vault: copying, .* [KM]iB/.test(text));
    return { running, heard: () => text };
  }

  it('has the phases on one line while it lasts, and then the summary alone', async () => {
    const { status, stdout } = await said(backup());
    assert.equal(status, 0, stdout);
    const seen = drawn(stdout);
    assert.deepEqual([...new Set(seen.filter(line => PHASES.includes(line)))], PHASES, stdout);
    const [line, ...more] = screen(stdout, 200);
    assert.match(line ?? '', SUMMARY);
    assert.deepEqual(more, []);
  });

  itLong(
    'shows bytes and files, never wider than it is, also when it becomes narrower meanwhile',
    async () => {
      slowly();
      const { running, heard } = await underWay(backup());
      const own = world.processes().find(each => each.command.startsWith(`${world.binary} backup `));
      const terminal = readlinkSync(`/proc/${own?.pid}/fd/2`);
      const before = heard();
      execFileSync('stty', ['-F', terminal, 'cols', '24']);
      const { status, stdout } = await running.done;
      await world.settled();
      assert.equal(status, 0, stdout);
      assert.ok(
        drawn(before).some(line => /^vault: copying, (\d+%, )?\d+( of \d+)? files, [\d.]+ MiB, /.test(line)),
        before,
      );
      // One may have been on its way.
      const [, ...narrow] = drawn(stdout).slice(drawn(before).length);
      assert.ok(narrow.length > 0, stdout);
      for (const line of narrow) assert.ok(line.length < 24, line);
      for (const line of drawn(stdout)) assert.match(line, /^[ -~]+$/);
    },
  );

  it('is left clean by Ctrl-C, with what comes next', async () => {
    slowly();
    const { running } = await underWay(backup());
    running.child.stdin?.write('\x03');
    const { status, stdout } = await running.done;
    await world.settled();
    assert.equal(status, 130, stdout);
    assert.deepEqual(screen(stdout, 200), [
      'dialback: Cannot back up to "vault": interrupted by SIGINT',
      wording('dialback-backup-it-continues-with'),
    ]);
    // grab goes on for a moment after a client that is gone: it ends its rsync in good order.
    const left = (): string[] => world.leftovers();
    await until('nothing is left', () => left().length === 0, 15_000).catch(() =>
      assert.deepEqual(left(), []),
    );
    world.configure();
  });

  itLong('has a line a phase with -v, and the summary', async () => {
    const { status, stdout } = await said(backup('-v'));
    assert.equal(status, 0, stdout);
    const lines = screen(stdout, 200);
    assert.match(lines.pop() ?? '', SUMMARY);
    assert.deepEqual(lines, [COMPRESSION, ...PHASES]);
  });

  itLong('shows messages below a clean line', async () => {
    world.configure({ remote: 'name = "vault"\nfrom = ["192.0.2.1"]\nlisten = "127.0.0.1:0"' });
    const { status, stdout } = await said(`${backup()}`);
    world.configure();
    assert.equal(status, 13, stdout);
    const lines = screen(stdout, 200);
    assert.match(
      lines[0] ?? '',
      matching`^${says('cannot-back-up')} to "vault": ${says('the-backup-host-could-not-connect')}`,
    );
    assert.match(lines[1] ?? '', /^next: /);
    assert.equal(lines.length, 2);
  });

  itLong('shows how far a restore is, and then what came of it', async () => {
    // Long enough for the line to be written again.
    const holes = join(world.data, 'holes');
    writeFileSync(holes, '');
    truncateSync(holes, 400 * 1024 * 1024);
    const backedUp = await world.backup();
    assert.equal(backedUp.status, 0, backedUp.stderr);
    rmSync(holes);
    const args = `'${world.name}' --config '${world.hostToml}' --to '${world.base}/restored'`;
    const restore = `stty cols 60; '${world.binary}' restore ${args}`;
    const { status, stdout } = await world.start('root', '/usr/bin/script', ['-qec', restore, '/dev/null'], {
      environment: { TERM: 'xterm' },
    }).done;
    assert.equal(status, 0, stdout);
    const seen = drawn(stdout);
    assert.ok(
      seen.length > 0 && seen.every(line => line.startsWith('restoring') && line.length < 60),
      stdout,
    );
    const far = /^restoring, \d{1,3}%, \d+ files, [\d.]+ [KM]?i?B(, |$)/;
    assert.ok(
      seen.some(line => far.test(line)),
      stdout,
    );
    assert.match(screen(stdout, 1000).join('\n'), /^restored 52 files, [^\n]*$/);
  });

  it('shows how far a verification is, and then what came of it', async () => {
    const verify = `'${world.binary}' verify --config '${world.hostToml}'`;
    const { status, stdout } = await world.start(
      world.host,
      '/usr/bin/script',
      ['-qec', verify, '/dev/null'],
      {
        environment: { TERM: 'xterm' },
      },
    ).done;
    assert.equal(status, 0, stdout);
    const count = world.snapshots().length;
    assert.equal(drawn(stdout)[0], `verifying acorn, snapshot 1 of ${count}`);
    assert.match(screen(stdout, 1000).join('\n'), /^acorn: \d+ snapshots verified, [^\n]*$/);
  });

  describe('gets nothing of the line', () => {
    before(() => world.configure({ remote: CHANNEL }));

    const cases = [
      ['with -q', '-q', 'xterm'],
      ['when it cannot erase', '', 'dumb'],
      ['when nobody knows what it can', '', ''],
      ['when a program reads along', '--json', 'xterm'],
    ] as const;
    for (const [what, more, terminal] of some(cases, 4, 1))
      it(what, async () => {
        const { status, stdout } = await said(backup(more), terminal);
        assert.equal(status, 0, stdout);
        assert.doesNotMatch(stdout, REWRITTEN);
        const lines = screen(stdout, 1000);
        if (more === '--json') for (const line of lines) JSON.parse(line);
        else if (more === '-q') assert.deepEqual(lines, []);
        else assert.match(lines.join('\n'), SUMMARY);
      });

    itLong('while it is in the background', async () => {
      const { status, stdout } = await said(`bash -c 'set -m; ${backup().replaceAll("'", '"')} & wait $!'`);
      assert.equal(status, 0, stdout);
      assert.doesNotMatch(stdout, REWRITTEN);
      // Then its shell says that it has ended.
      assert.match(screen(stdout, 1000)[0] ?? '', SUMMARY);
    });
  });

  itLong('is not needed: what goes into files and pipes is plain', async () => {
    const errors = join(world.client.home, 'errors');
    const output = join(world.client.home, 'output');
    const piped = await world.run(world.client, ['backup', '-v', '--config', world.clientToml], {
      environment: { TERM: 'xterm' },
    });
    await world.settled();
    assert.equal(piped.status, 0, piped.stderr);
    assert.equal(piped.stderr, '');
    const lines = piped.stdout.trimEnd().split('\n');
    assert.match(lines.pop() ?? '', SUMMARY);
    assert.deepEqual(lines, [COMPRESSION, ...PHASES.filter(each => !/keys|connects back/.test(each))]);
    // Standard error alone, and standard output alone, at the terminal.
    const toFile = await said(`${backup()} >'${output}'`);
    assert.ok(drawn(toFile.stdout).length > 0);
    assert.deepEqual(screen(toFile.stdout, 200), []);
    assert.equal(readFileSync(output, 'utf8'), '');
    const { stdout } = await said(`${backup()} 2>'${errors}'`);
    assert.match(screen(stdout, 200).join('\n'), SUMMARY);
    assert.doesNotMatch(stdout, REWRITTEN);
    assert.equal(readFileSync(errors, 'utf8'), '');
  });

  it('leaves nothing behind', () => assert.deepEqual(world.leftovers(), []));
});
