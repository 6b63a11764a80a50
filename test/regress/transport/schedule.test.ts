// Goal: a run never gets in another's way: one at a time for each remote, side by side for different ones; the next waits where
// it is told to; what was not to be reached is called again, and nothing else is; a full host is waited for with nothing open;
// a killed run gives its turn back; a signal ends every wait at once.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { chownSync, copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { itLong } from '../../support/long.ts';
import { matching, says, wording } from '../../support/wording.ts';
import { lastLine, NEEDS_ROOT, type Result, type Running, until, World } from '../../support/world.ts';

/** Longer than any of these tests: nothing here waits for it. */
const LONG = '20m';

describe('schedule', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let world: World;
  before(async () => {
    world = await World.make();
    writeFileSync(join(world.data, 'large'), randomBytes(3 << 20));
    world.configure();
    assert.equal((await world.backup()).status, 0);
  });
  after(async () => {
    await world.dispose();
  });
  afterEach(async () => {
    await world.settled();
    await until('nothing is left', () => world.leftovers().length === 0);
  });

  const CHANNEL = 'transport = "channel"';
  /** Slow enough to be under way as long as is looked at it. */
  const SLOW = 'bwlimit = "64K"\ndeadline = "5m"';

  /** Content that no snapshot has: the next run has to send it. */
  function renew(): void {
    writeFileSync(join(world.data, 'large'), randomBytes(3 << 20));
    chownSync(join(world.data, 'large'), world.client.uid, world.client.gid);
  }

  interface Told {
    running: Running;
    news: Record<string, unknown>[];
    /** Waits until it has said something. */
    says(what: string, holds: (each: Record<string, unknown>) => boolean): Promise<void>;
  }

  function start(args: string[] = [], toml = world.clientToml): Told {
    const news: Record<string, unknown>[] = [];
    const running = world.start(world.client, world.binary, ['backup', '--json', '--config', toml, ...args], {
      onLine: line => void news.push(JSON.parse(line)),
    });
    const says: Told['says'] = (what, holds) => until(`it says ${what}`, () => news.some(holds), 60_000);
    return { running, news, says };
  }
  const isCopying = (each: Record<string, unknown>): boolean => each.phase === 'copying';
  const isWaiting =
    (why: string) =>
    (each: Record<string, unknown>): boolean =>
      each.event === 'waiting' && each.why === why;

  async function stop({ running }: Told): Promise<Result> {
    running.child.kill('SIGTERM');
    return await running.done;
  }

  describe('on the client', () => {
    /** Two remotes, the same host under two names; the second client's name is the first's too. */
    const two = (schedule = '', limits = SLOW): void =>
      world.configure({
        remote: `name = "vault"\n${CHANNEL}\n[[remote]]\nname = "attic"\ntarget = "${world.target}"\n${CHANNEL}`,
        limits: `${limits}\n[schedule]\n${schedule}`,
      });

    it('a run for another remote goes on beside the first; one for the same is told', async () => {
      renew();
      two();
      const first = start(['--remote', 'vault']);
      await first.says('that it copies', isCopying);
      const same = await world.run(world.client, [
        'backup',
        '--config',
        world.clientToml,
        '--remote',
        'vault',
      ]);
      assert.equal(same.status, 11);
      assert.equal(same.stderr, `dialback: ${wording('cannot-back-up-to-another', 'vault')}\n`);
      // It comes as far as the host, which still has the other run of this client: our own lock did not stop it.
      const other = await world.run(world.client, [
        'backup',
        '--config',
        world.clientToml,
        '--remote',
        'attic',
      ]);
      assert.equal(other.status, 11);
      assert.match(
        other.stderr,
        matching`^dialback: ${says('cannot-back-up-to-the', 'attic')} ${says('is-still-at-work-on')}`,
      );
      const both = await world.run(world.client, ['backup', '--config', world.clientToml]);
      assert.equal(both.status, 11);
      assert.equal(both.stderr.match(/^dialback: Cannot back up to/gm)?.length, 2, both.stderr);
      assert.ok(first.running.child.exitCode === null, 'the first one goes on');
      assert.equal((await stop(first)).status, 130);
    });

    it('the next one waits with when_locked = "wait", a third one is told, and a signal ends the wait', async () => {
      renew();
      two('when_locked = "wait"');
      const first = start(['--remote', 'vault']);
      await first.says('that it copies', isCopying);
      const next = start(['--remote', 'vault']);
      await next.says('that it waits', isWaiting('lock'));
      const third = await world.run(world.client, [
        'backup',
        '--config',
        world.clientToml,
        '--remote',
        'vault',
      ]);
      assert.equal(third.status, 11);
      assert.match(third.stderr, matching`${says('another-run-is-under-way')}\n$`);
      assert.equal((await stop(next)).status, 130);

      const patient = start(['--remote', 'vault', '--dry-run']);
      await patient.says('that it waits', isWaiting('lock'));
      await stop(first);
      const result = await patient.running.done;
      assert.equal(result.status, 0, result.stdout + result.stderr);
      assert.equal(lastLine(result).outcome, 'full');
    });

    itLong('a wait for the lock ends at the deadline', async () => {
      renew();
      two();
      const first = start(['--remote', 'vault']);
      await first.says('that it copies', isCopying);
      two('when_locked = "wait"', 'deadline = "1s"');
      const late = await world.run(world.client, [
        'backup',
        '--config',
        world.clientToml,
        '--remote',
        'vault',
      ]);
      assert.equal(late.status, 11);
      assert.match(late.stderr, matching`${says('another-run-has-been-under')}\n$`);
      await stop(first);
    });

    itLong('jitter comes before everything, not before a dry run, and a signal ends it', async () => {
      two(`jitter = "${LONG}"`, 'deadline = "5m"');
      const lines = world.journal('client').length;
      const jittered = start();
      await until('it says of both that it waits', () => jittered.news.length >= 2);
      assert.ok(jittered.news.every(isWaiting('jitter')), JSON.stringify(jittered.news));
      assert.equal((await stop(jittered)).status, 130);
      assert.equal(world.journal('client').length, lines, 'nothing was begun');
      const dry = await world.run(world.client, ['backup', '--config', world.clientToml, '--dry-run']);
      assert.equal(dry.status, 0, dry.stderr);
    });
  });

  describe('when the host is not there', () => {
    /** A port where nobody is. */
    async function closedPort(): Promise<number> {
      const server = createServer();
      await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
      const address = server.address();
      await new Promise(resolve => server.close(resolve));
      return typeof address === 'object' && address ? address.port : 0;
    }

    /** The whole config, with another port, key or host key. */
    function configure(schedule: string, change = (toml: string): string => toml): void {
      world.configure({
        remote: `name = "vault"\n${CHANNEL}`,
        limits: `deadline = "5m"\n[schedule]\n${schedule}`,
      });
      world.write(world.client, world.clientToml, change(readFileSync(world.clientToml, 'utf8')));
    }
    const elsewhere = (port: number) => (toml: string) => toml.replace(`:${world.port}"`, `:${port}"`);
    const attempts = (from: number): string[] =>
      world
        .journal('client')
        .slice(from)
        .map(each => String(each.event));

    itLong(
      'it is called again for as long as `retry` says, and the last failure says how often',
      async () => {
        configure('retry = "3s"', elsewhere(await closedPort()));
        const before = world.journal('client').length;
        const result = await world.run(world.client, ['backup', '--config', world.clientToml]);
        assert.equal(result.status, 13);
        const [, count = ''] = /: Connection refused.* \((\d+) attempts\)\n/.exec(result.stderr) ?? [];
        assert.equal(result.stderr.match(/Cannot/g)?.length, 1, 'one failure is told');
        assert.ok(Number(count) >= 2 && Number(count) <= 5, result.stderr);
        const wanted = Array.from({ length: Number(count) }, () => ['started', 'finished']).flat();
        assert.deepEqual(attempts(before), wanted);
      },
    );

    it('and when it is back, the run is made', async () => {
      const port = await closedPort();
      configure(`retry = "${LONG}"`, elsewhere(port));
      // What it knows the host by has the port in it.
      const known = join(world.client.home, '.ssh/known_hosts');
      copyFileSync(known, `${known}.old`);
      world.write(world.client, known, readFileSync(known, 'utf8').replace(`:${world.port}`, `:${port}`));
      const patient = start();
      await patient.says('that it tries again', isWaiting('retry'));
      const server = await world.listenOn(port);
      const result = await patient.running.done;
      server.close();
      world.write(world.client, known, readFileSync(`${known}.old`, 'utf8'));
      assert.equal(result.status, 0, result.stdout + result.stderr);
      const found = patient.news.find(isWaiting('retry'))?.found;
      assert.match(String(found), says('cannot-call-the-backup-host'));
    });

    itLong('a signal ends the wait, and nothing is open meanwhile', async () => {
      configure(`retry = "${LONG}"`, elsewhere(await closedPort()));
      const patient = start();
      await patient.says(
        'that it has tried twice',
        () => patient.news.filter(isWaiting('retry')).length >= 2,
      );
      await until('only `backup` itself is there', () => world.leftovers().length === 1);
      assert.equal((await stop(patient)).status, 130);
    });

    itLong(
      'nothing is tried again without `retry`, nor where the key, the host key or the name is wrong',
      async () => {
        const cases: [schedule: string, change: (toml: string) => string, status: number][] = [
          ['', elsewhere(await closedPort()), 13],
          [
            `retry = "${LONG}"`,
            toml =>
              toml.replace('name = "vault"', `name = "vault"\nknown_hosts = "${world.client.home}/other"`),
            13,
          ],
          [
            `retry = "${LONG}"`,
            toml =>
              toml.replace('name = "vault"', `name = "vault"\nidentity = "${world.client.home}/stranger"`),
            12,
          ],
          [`retry = "${LONG}"`, toml => toml.replace(`name = "${world.name}"`, 'name = "other"'), 12],
        ];
        world.keygen(world.client, join(world.client.home, 'stranger'));
        const wrong = readFileSync(join(world.client.home, 'stranger.pub'), 'utf8');
        world.write(
          world.client,
          join(world.client.home, 'other'),
          `[${world.address}]:${world.port} ${wrong}`,
        );
        for (const [schedule, change, status] of cases) {
          configure(schedule, change);
          const before = world.journal('client').length;
          const result = await world.run(world.client, ['backup', '--config', world.clientToml]);
          assert.equal(result.status, status, result.stderr);
          assert.doesNotMatch(result.stderr, /attempts/);
          assert.deepEqual(attempts(before), ['started', 'finished']);
        }
      },
    );
  });

  describe('when the host takes no more', () => {
    const other = 'beech';
    let otherToml: string;
    before(async () => {
      const identity = join(world.client.home, `.ssh/${other}`);
      world.keygen(world.client, identity);
      assert.equal((await world.enroll(other, readFileSync(`${identity}.pub`, 'utf8'))).status, 0);
      world.configure({ remote: `name = "vault"\n${CHANNEL}`, limits: SLOW });
      otherToml = join(world.client.home, `${other}.toml`);
      const text = readFileSync(world.clientToml, 'utf8')
        .replace(`name = "${world.name}"`, `name = "${other}"`)
        .replace(/^state = .*$/m, `state = "${world.client.home}/state of ${other}"`)
        .replace(/^target = /m, `identity = "${identity}"\n$&`);
      world.write(world.client, otherToml, text);
      world.write(
        world.host,
        world.hostToml,
        `store = "${world.store}"\nsyslog = false\n[requests]\nmax_concurrent = 1\n`,
      );
    });
    const startOther = (): Told => start([], otherToml);
    const configure = (): void =>
      world.configure({ remote: `name = "vault"\n${CHANNEL}`, limits: 'deadline = "5m"' });

    it('the next one waits with nothing open, and comes when the turn of one that was killed is free', async () => {
      renew();
      const first = startOther();
      await first.says('that it copies', isCopying);
      configure();
      const next = start();
      await next.says('that its turn comes later', isWaiting('turn'));
      const told = next.news.find(isWaiting('turn'));
      assert.ok(Number(told?.ms) >= 1000 && Number(told?.ms) <= 376_000, String(told?.ms));
      assert.match(String(told?.found), matching`${says('at-work-on-as-many')}$`);
      const [grab] = world
        .processes()
        .filter(each => each.command.startsWith(`${world.binary} grab --client ${other}`));
      process.kill(grab?.pid ?? assert.fail('it is there'), 'SIGKILL');
      await first.running.done;
      const result = await next.running.done;
      assert.equal(result.status, 0, result.stdout + result.stderr);
      const queued = world.journal('host').filter(each => each.event === 'queued');
      assert.ok(queued.length > 0);
    });

    itLong('a dry run has a turn too; who has a run of its own under way is busy, and no more', async () => {
      renew();
      const first = startOther();
      await first.says('that it copies', isCopying);
      configure();
      const dry = start(['--dry-run']);
      await dry.says('that its turn comes later', isWaiting('turn'));
      assert.equal((await stop(dry)).status, 130);
      const state = join(world.client.home, 'another state');
      const again = await world.run(world.client, ['backup', '--config', otherToml, '--state', state]);
      assert.equal(again.status, 11);
      assert.match(again.stderr, says('still-at-work-on-another-run'));
      await stop(first);
    });

    itLong('who would wait past its deadline is told at once when to come', async () => {
      // Nobody's place is left, and runs take a day.
      const queue = { places: [], lately: [{ client: other, ms: 86_400_000 }] };
      world.write(world.host, join(world.store, 'turns/queue.json'), JSON.stringify(queue));
      renew();
      const first = startOther();
      await first.says('that it copies', isCopying);
      world.configure({ remote: `name = "vault"\n${CHANNEL}`, limits: 'deadline = "60s"' });
      const late = await world.run(world.client, ['backup', '--config', world.clientToml]);
      assert.equal(late.status, 11);
      assert.match(late.stderr, matching`${says('as-many-runs-as-it')}\n${says('try-again-in')} 5 min\n$`);
      await stop(first);
    });
  });
});
