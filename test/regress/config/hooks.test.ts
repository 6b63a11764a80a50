// Goal: hooks run around a backup on either side, as they are told to in `dialback help hooks`: `before`, then exactly one of
// the others, whatever ends the run; with status 75 nothing is said or done; and the other machine hears nothing of them.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { itLong, itShort } from '../../support/long.ts';
import { matching, says, wording } from '../../support/wording.ts';
import { lastLine, NEEDS_ROOT, type Party, putExecutable, until, World } from '../../support/world.ts';

/** What one hook was told, and was. */
interface Seen {
  hook: string;
  facts: Record<string, string>;
  descriptors: string[];
  capabilities: string[];
}

describe('hooks', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let world: World;
  let folder = '';
  before(async () => {
    world = await World.make();
    folder = join(world.base, 'hooks of root');
    mkdirSync(folder, { mode: 0o755 });
    for (let index = 0; index < 5; index += 1)
      writeFileSync(join(world.data, `file ${index}`), `content ${index}`);
  });
  after(async () => {
    await world?.dispose();
  });
  beforeEach(() => {
    for (const party of [world.client, world.host]) {
      rmSync(seenBy(party), { recursive: true, force: true });
      mkdirSync(seenBy(party));
      world.own(party, seenBy(party));
    }
  });

  const seenBy = (party: Party): string => join(party.home, 'seen');

  /** A hook that writes down what it sees, and then does what `lines` say. */
  const recorder = (name: string, ...lines: string[]): string => {
    const path = join(folder, name);
    const all = [
      '#!/bin/sh',
      'to=$HOME/seen/$(ls "$HOME/seen" | wc -l)',
      '{ env | grep ^DIALBACK_; echo; ls -l /proc/$$/fd 2>/dev/null | sed -n "s/.* -> //p"; echo; grep ^Cap /proc/$$/status; } >"$to"',
      ...lines,
      '',
    ];
    writeFileSync(path, all.join('\n'));
    chmodSync(path, 0o755);
    return path;
  };

  const seen = (party: Party): Seen[] =>
    readdirSync(seenBy(party))
      .sort()
      .map(name => {
        const parts = readFileSync(join(seenBy(party), name), 'utf8').split('\n\n');
        const [told = [], descriptors = [], capabilities = []] = parts.map(part => part.trim().split('\n'));
        const facts = Object.fromEntries(told.map(line => line.slice('DIALBACK_'.length).split(/=(.*)/s, 2)));
        return { hook: facts.HOOK, facts, descriptors, capabilities };
      });
  const hooksSeen = (party: Party): string[] => seen(party).map(each => each.hook);

  type Hooks = Partial<Record<'before' | 'after' | 'failed' | 'timeout', string | string[]>>;
  const table = (hooks: Hooks): string =>
    ['[hooks]', ...Object.entries(hooks).map(([key, value]) => `${key} = ${JSON.stringify(value)}`), ''].join(
      '\n',
    );
  const set = (hooks: { client?: Hooks; host?: Hooks; limits?: string; requests?: string }): void => {
    world.configure({ limits: `${hooks.limits ?? 'deadline = "5m"'}\n${table(hooks.client ?? {})}` });
    const requests = hooks.requests === undefined ? '' : `[requests]\n${hooks.requests}\n`;
    const host = `store = "${world.store}"\nsyslog = false\n${requests}${table(hooks.host ?? {})}`;
    world.write(world.host, world.hostToml, host);
  };
  const all = (path: string): Hooks => ({ before: path, after: path, failed: path });
  /** The host's hooks go on when the client has gone. */
  const over = () => until('all has ended', () => world.processes().length === 0);
  const plainly = async (...more: string[]) => {
    const ended = await world.run(world.client, ['backup', '--config', world.clientToml, ...more]);
    await over();
    return ended;
  };
  const backup = async (...more: string[]) => {
    const ended = await world.backup(more);
    await over();
    return ended;
  };
  const quiet = { status: 0, signal: null, stdout: '', stderr: '' };

  it('both sides: before and after, told what they are for, with nothing of ours in their hands', async () => {
    const path = recorder('all');
    set({ client: all(path), host: all(path) });
    assert.deepEqual(await plainly(), quiet);
    const [name = ''] = world.snapshots();
    const common = {
      CLIENT: 'acorn',
      OUTCOME: 'full',
      SNAPSHOT: name,
      EXIT: '0',
      FILES: '5',
      BYTES: '45',
      SENT_BYTES: '45',
    };
    const [clientBefore, clientAfter, ...noMore] = seen(world.client);
    assert.deepEqual(noMore, []);
    assert.deepEqual(clientBefore?.facts, {
      HOOK: 'before',
      SIDE: 'client',
      CLIENT: 'acorn',
      REMOTE: 'vault',
    });
    const { DURATION, ...rest } = clientAfter?.facts ?? {};
    assert.match(DURATION ?? '', /^\d+$/);
    assert.deepEqual(rest, { ...common, HOOK: 'after', SIDE: 'client', REMOTE: 'vault' });
    const [hostBefore, hostAfter, ...notOnHost] = seen(world.host);
    assert.deepEqual(notOnHost, []);
    assert.deepEqual(hostBefore?.facts, { HOOK: 'before', SIDE: 'host', CLIENT: 'acorn' });
    const { SNAPSHOT_PATH = '', DURATION: _, ...others } = hostAfter?.facts ?? {};
    assert.deepEqual(others, { ...common, HOOK: 'after', SIDE: 'host' });
    assert.ok(existsSync(join(SNAPSHOT_PATH, 'snapshot.json')), SNAPSHOT_PATH);
    for (const each of [...seen(world.client), ...seen(world.host)]) {
      assert.deepEqual(
        each.capabilities.filter(line => !line.startsWith('CapBnd')).map(line => line.replace(/\s+/, ' ')),
        [
          'CapInh: 0000000000000000',
          'CapPrm: 0000000000000000',
          'CapEff: 0000000000000000',
          'CapAmb: 0000000000000000',
        ],
      );
      assert.deepEqual(
        each.descriptors.filter(to => /lock|journal|state|store|socket/.test(to)),
        [],
      );
    }
    const [first, second] = world.journal('client').filter(each => each.event === 'hook');
    assert.deepEqual([first?.hook, first?.status, second?.hook], ['before', 0, 'after']);
  });

  itShort('a capability that dialback was started with does not reach them', async () => {
    const path = recorder('all');
    set({ client: all(path) });
    const { client } = world;
    const account = ['--reuid', String(client.uid), '--regid', String(client.gid), '--clear-groups'];
    const lent = ['--inh-caps', '+dac_read_search'];
    putExecutable(world.binary, true);
    execFileSync('setcap', ['cap_dac_read_search=i', world.binary]); // as it is installed
    const backup = [world.binary, 'backup', '--config', world.clientToml];
    const environment = { HOME: client.home };
    const words = [
      ...account,
      ...lent,
      '--',
      'sh',
      '-c',
      'grep ^CapInh /proc/self/status; exec "$@"',
      '-',
      ...backup,
    ];
    const ended = await world.start('root', '/usr/bin/setpriv', words, { environment }).done;
    assert.equal(ended.status, 0, ended.stderr);
    assert.match(ended.stdout, /^CapInh:\s+0+4$/m);
    assert.deepEqual(hooksSeen(client), ['before', 'after']);
    for (const { capabilities } of seen(client))
      for (const line of capabilities) if (!line.startsWith('CapBnd')) assert.match(line, /:\s+0+$/);
  });

  it('status 75 of before: silence, exit 0, and nobody is called', async () => {
    set({ client: { ...all(recorder('all')), before: recorder('skip', 'echo on battery', 'exit 75') } });
    const before = world.journal('host').length;
    assert.deepEqual(await plainly(), quiet);
    const { status, last } = await backup();
    assert.deepEqual([status, last.outcome, last.snapshot, last.error], [0, 'skipped', null, null]);
    const { stdout, stderr } = await plainly('-v');
    assert.match(
      stdout,
      /^vault: the hook before ended with status 75, in .*\nvault: skipped: the hook "before" said "not now"\n$/,
    );
    assert.equal(stderr, 'before: on battery\n');
    assert.deepEqual(hooksSeen(world.client), ['before', 'before', 'before']);
    assert.equal(world.journal('host').length, before);
    assert.equal(world.journal('client').at(-1)?.event, 'skipped');
  });

  itShort('before fails: exit 1, its words, one message; `failed` is told why', async () => {
    const bad = recorder('bad', `printf 'first\\nit is \\033[31mred\\n' >&2`, 'exit 7');
    set({ client: { ...all(recorder('all')), before: bad } });
    const calls = world.journal('host').length;
    const { status, stdout, stderr } = await plainly();
    assert.deepEqual([status, stdout], [1, '']);
    const reason = `${wording('cannot-the-hook-before', 'back up to "vault"')}" ("${bad}") ended with status 7`;
    assert.equal(
      stderr,
      `before: first\nbefore: it is \\u001b[31mred\ndialback: ${reason}\n${wording('read-its-output-and-dialback')}\n`,
    );
    const [, failed, ...noMore] = seen(world.client);
    assert.deepEqual(noMore, []);
    const { DURATION: _, ...facts } = failed?.facts ?? {};
    assert.deepEqual(facts, {
      ...{ HOOK: 'failed', SIDE: 'client', CLIENT: 'acorn', REMOTE: 'vault' },
      ...{ OUTCOME: 'failed', EXIT: '1', REASON: reason },
    });
    assert.equal(world.journal('host').length, calls, 'nobody was called');
    assert.deepEqual(
      world
        .journal('client')
        .slice(-3)
        .map(each => [each.event, each.reason]),
      [
        ['hook', 'ended with status 7'],
        ['finished', reason],
        ['hook', null],
      ],
    );
  });

  itLong('after fails: the snapshot stands, a message, exit 3', async () => {
    const bad = recorder('bad', 'echo cannot unmount', 'exit 1');
    set({ client: { ...all(recorder('all')), after: bad } });
    const { status, last } = await backup();
    assert.deepEqual([status, last.outcome], [3, 'full']);
    assert.ok(world.snapshots().includes(last.snapshot ?? ''));
    assert.equal(
      last.error,
      `${wording('cannot-finish-with-the-hook')} "after": "${bad}" ended with status 1`,
    );
    const { status: again, stderr } = await plainly();
    assert.equal(again, 3);
    assert.match(
      stderr,
      /^after: cannot unmount\ndialback: Cannot finish with the hook "after": .*\nnext: .*\n$/,
    );
    assert.deepEqual(hooksSeen(world.client), ['before', 'after', 'before', 'after']);
  });

  it('a signal, while before runs or while files are copied: `failed` runs, once, to its end', async () => {
    const started = join(seenBy(world.client), '0');
    set({
      client: { ...all(recorder('all', 'sleep 0.3', 'echo done')), before: recorder('slow', 'sleep 1000') },
    });
    const early = world.start(world.client, world.binary, ['backup', '-v', '--config', world.clientToml]);
    await until('before runs', () => existsSync(started) && readFileSync(started, 'utf8').includes('CapAmb'));
    early.child.kill('SIGTERM');
    const { status, stderr } = await early.done;
    assert.equal(status, 130, stderr);
    assert.match(stderr, /^failed: done$/m);
    assert.deepEqual(hooksSeen(world.client), ['before', 'failed']);
    assert.deepEqual(world.processes(), []);

    set({ client: all(recorder('all')), host: all(recorder('all')), limits: 'bwlimit = "1K"' });
    writeFileSync(join(world.data, 'large'), 'x'.repeat(200_000));
    world.own(world.client, join(world.data, 'large'));
    const copying = Promise.withResolvers<void>();
    const late = world.start(world.client, world.binary, ['backup', '--json', '--config', world.clientToml], {
      onLine: line => {
        if (line.includes('"progress"')) copying.resolve();
      },
    });
    await copying.promise;
    late.child.kill('SIGINT');
    const ended = await late.done;
    rmSync(join(world.data, 'large'));
    assert.equal(ended.status, 130);
    assert.equal(lastLine(ended).outcome, 'failed');
    await over();
    assert.deepEqual(hooksSeen(world.client).slice(2), ['before', 'failed']);
    assert.equal(seen(world.client).at(-1)?.facts.EXIT, '130');
    assert.deepEqual(hooksSeen(world.host), ['before', 'failed']);
  });

  itLong('dies with dialback, where that is killed; the next run has its own', async () => {
    set({ client: { ...all(recorder('all')), before: recorder('slow', 'exec sleep 1000') } });
    const killed = world.start(world.client, world.binary, ['backup', '--config', world.clientToml]);
    const isUnderWay = (): boolean => world.processes().some(each => each.command === 'sleep 1000');
    await until('before runs', isUnderWay);
    killed.child.kill('SIGKILL');
    await killed.done;
    await until('it has ended too', () => world.processes().length === 0);
    assert.deepEqual(hooksSeen(world.client), ['before']);
    set({ client: all(recorder('all')) });
    assert.deepEqual(await plainly(), quiet);
    assert.deepEqual(hooksSeen(world.client), ['before', 'before', 'after']);
  });

  itLong('a deadline: `failed` runs; the hooks are not counted in it', async () => {
    set({
      client: { ...all(recorder('all')), before: recorder('long', 'sleep 1.5') },
      limits: 'deadline = "1s"',
    });
    // The host answers nothing in time: its own `before` takes longer.
    world.write(
      world.host,
      world.hostToml,
      `store = "${world.store}"\nsyslog = false\n${table({ before: recorder('longer', 'sleep 3') })}`,
    );
    const { status, stderr } = await plainly();
    assert.equal(status, 1);
    assert.match(stderr, says('the-deadline-has-passed'));
    assert.deepEqual(hooksSeen(world.client), ['before', 'failed']);
    await over();
  });

  itLong('a dry run runs none', async () => {
    set({ client: all(recorder('all')), host: all(recorder('all')) });
    assert.equal((await backup('--dry-run')).status, 0);
    assert.deepEqual([...hooksSeen(world.client), ...hooksSeen(world.host)], []);
  });

  itLong(
    'a hook that others can write is refused before anything is done; doctor says so on both sides',
    async () => {
      const path = recorder('open');
      chmodSync(path, 0o775);
      set({ client: { failed: path } });
      const { status, stderr } = await plainly();
      assert.equal(status, 2);
      assert.match(
        stderr,
        matching`^dialback: ${says('cannot-use-the-hook')} "failed": ".*open" ${says('can-be-written-by-others')} .*\nnext: chmod go-w '`,
      );
      set({ host: { failed: path } });
      const { status: refused, stdout, last } = await backup();
      assert.equal(refused, 1);
      assert.match(last.error ?? '', matching`${says('the-backup-host-is-not')}$`);
      assert.doesNotMatch(stdout, /hook/);
      assert.match(
        String(world.journal('host').at(-1)?.reason),
        matching`^${says('cannot-use-the-hook')} "failed": `,
      );
      set({ client: { failed: path }, host: { failed: path } });
      for (const [party, config, side] of [
        [world.client, world.clientToml, 'client'],
        [world.host, world.hostToml, 'host'],
      ] as const) {
        const said = await world.run(party, ['doctor', '--json', '--config', config]);
        const findings = JSON.parse(said.stdout) as { check: string; state: string; next: string }[];
        const [found, ...others] = findings.filter(each => each.check === `${side}.hooks`);
        assert.deepEqual([found?.state, others.length], ['critical', 0]);
        assert.match(found?.next ?? '', /^chmod go-w /);
      }
      assert.deepEqual([...hooksSeen(world.client), ...hooksSeen(world.host)], []);
    },
  );

  it('host: before says "not now": the client may come again later, and it was no start', async () => {
    const skip = recorder('skip', 'echo the RAID is being checked', 'exit 75');
    set({ host: { ...all(recorder('all')), before: skip } });
    const { status, stdout, last } = await backup();
    assert.equal(status, 12);
    assert.match(last.error ?? '', matching`${says('takes-the-next-backup-of')}$`);
    assert.doesNotMatch(stdout, /hook|RAID|not now/);
    assert.deepEqual(hooksSeen(world.host), ['before']);
    const [told, refused] = world.journal('host').slice(-2);
    assert.deepEqual([told?.event, told?.words], ['hook', ['the RAID is being checked']]);
    assert.deepEqual([refused?.event, refused?.code], ['refused', 'too-early']);
    const names = world.snapshots();
    // Each of the runs above was a start, this one was none.
    set({ requests: 'min_interval = "1s"' });
    assert.equal((await backup()).status, 0);
    assert.equal(world.snapshots().length, names.length + 1);
  });

  itShort('host: before fails: the client hears that the host failed, and no more', async () => {
    set({ host: { ...all(recorder('all')), before: recorder('bad', 'echo secret words', 'exit 1') } });
    const { status, stdout, stderr, last } = await backup();
    assert.equal(status, 1);
    assert.match(last.error ?? '', matching`${says('the-backup-host-failed')}$`);
    assert.doesNotMatch(stdout + stderr, /hook|secret/);
    assert.deepEqual(hooksSeen(world.host), ['before', 'failed']);
    assert.match(
      seen(world.host)[1]?.facts.REASON ?? '',
      /the hook "before" \(".*bad"\) ended with status 1$/,
    );
    assert.deepEqual(readdirSync(join(world.shelf, 'arriving')), []);
  });

  itLong(
    'host: after runs when the client has gone, with the lock held; its failure is in the journal alone',
    async () => {
      const release = join(seenBy(world.host), 'release');
      set({
        host: {
          after: recorder('long', `until [ -e '${release}' ]; do sleep 0.05; done`, 'echo odd; exit 9'),
        },
      });
      const args = ['backup', '--json', '--config', world.clientToml];
      const first = await world.run(world.client, args);
      assert.equal(first.status, 0);
      await until('after runs', () => hooksSeen(world.host).length === 1);
      const second = await world.run(world.client, args);
      assert.equal(second.status, 11);
      assert.match(lastLine(second).error ?? '', says('still-at-work-on-another'));
      writeFileSync(release, '');
      await over();
      const line = world.journal('host').findLast(each => each.event === 'hook');
      assert.deepEqual(
        [line?.hook, line?.status, line?.reason, line?.words],
        ['after', 9, 'ended with status 9', ['odd']],
      );
      const name = lastLine(first).snapshot ?? '';
      assert.ok(world.snapshots().includes(name));
      assert.ok(
        existsSync(join(world.shelf, 'snapshots', name, 'manifest.mtree.gz')),
        'what comes after it, came',
      );
    },
  );

  itShort('is explained by `dialback help hooks`', async () => {
    const { status, stdout } = await world.run(world.client, ['help', 'hooks']);
    assert.equal(status, 0);
    assert.match(stdout, /^Hooks: .*\n/);
    for (const name of [...new Set([...readAllFacts()])])
      assert.match(stdout, new RegExp(`^  DIALBACK_${name} `, 'm'));
    const unknown = await world.run(world.client, ['help', 'hook']);
    assert.equal(unknown.status, 2);
  });

  /** What the sources tell a hook, by name. */
  function* readAllFacts(): Generator<string> {
    for (const file of ['src/client/hooks.ts', 'src/host/hooks.ts'])
      for (const [, name = ''] of readFileSync(join(import.meta.dirname, '../../..', file), 'utf8').matchAll(
        /\b([A-Z_]{3,}):/g,
      ))
        yield name;
  }
});
