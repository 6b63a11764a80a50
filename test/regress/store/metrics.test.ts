// Goal: a silent client shows in status and in the metrics, and its message is sent once. The metrics are valid for promtool, get into
// a file of node_exporter whole or not at all, and go to no place that others can change. Journals rotate on both machines, and no
// reader misses an entry.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { IS_LONG, itLong } from '../../support/long.ts';
import { NEEDS_ROOT, type Result, World } from '../../support/world.ts';

const TOP = join(import.meta.dirname, '../../..');
const DAY_MS = 86_400_000;
const NEEDS_PROMTOOL =
  spawnSync('promtool', ['--version']).status !== 0 &&
  'promtool is not installed: tools/prepare.sh test-long';

/** Checks with promtool. @returns its complaints */
function promtool(args: string[], input = ''): string {
  const { status, stdout, stderr } = spawnSync('promtool', args, { input, encoding: 'utf8' });
  return status === 0 ? '' : `${stdout}${stderr}`;
}

describe('metrics and silence', { skip: NEEDS_ROOT }, () => {
  let world: World;
  let folder: string;
  let text: string;

  const configure = (more: string): void =>
    world.write(world.host, world.hostToml, `store = "${world.store}"\nsyslog = false\n${more}\n`);
  const host = async (...args: string[]): Promise<Result> =>
    await world.run(world.host, [...args, '--config', world.hostToml]);
  const numberOf = (name: string): number =>
    Number(new RegExp(`^dialback_${name}\\{.*\\} (.*)$`, 'm').exec(text)?.[1] ?? Number.NaN);

  before(async () => {
    world = await World.make();
    folder = join(world.host.home, 'textfile');
    mkdirSync(folder, { mode: 0o755 });
    world.own(world.host, folder);
    writeFileSync(join(world.data, 'file'), 'content');
    assert.equal((await world.backup()).status, 0);
  });
  after(async () => {
    await world.dispose();
  });

  it('prints the metrics of a backup', async () => {
    const { status, stdout, stderr } = await host('metrics');
    assert.equal(status, 0, stderr);
    text = stdout;
    assert.equal(numberOf('client_level'), 0);
    assert.equal(numberOf('client_silent'), 0);
    assert.equal(numberOf('client_last_full_files'), 1);
    assert.ok(Date.now() / 1000 - numberOf('client_last_full_timestamp_seconds') < 600);
    assert.ok(numberOf('store_free_bytes') > 0);
    assert.match(text, /^dialback_client_last_run\{.*,outcome="full",code=""\} \d/m);
    assert.equal(statSync(join(world.store, 'catalog.sqlite')).mode & 0o777, 0o600);
    assert.equal(
      world.journal('host').find(each => each.event === 'committed')?.free_bytes !== undefined,
      true,
    );
  });

  it('replaces a file that everybody can read, and leaves no other', async () => {
    const path = join(folder, 'dialback.prom');
    for (const before of [undefined, 'old']) {
      if (before !== undefined) world.write(world.host, path, before);
      const { status, stdout, stderr } = await host('metrics', '--textfile', path);
      assert.deepEqual([status, stdout, stderr], [0, '', '']);
      assert.match(readFileSync(path, 'utf8'), /^# HELP [\s\S]*\n# EOF\n$/);
      assert.equal(statSync(path).mode & 0o777, 0o644);
      assert.deepEqual(readdirSync(folder), ['dialback.prom']);
    }
  });

  it('refuses a folder that others can write, a link, and another name', async () => {
    const path = join(folder, 'dialback.prom');
    const before = readFileSync(path, 'utf8');
    const refused = async (file: string, status: number, named: RegExp): Promise<void> => {
      const result = await host('metrics', '--textfile', file);
      assert.equal(result.status, status, result.stderr);
      assert.match(result.stderr, named);
    };
    for (const mode of [0o775, 0o757, 0o1777]) {
      chmodSync(folder, mode);
      await refused(path, 2, /textfile/);
    }
    chmodSync(folder, 0o755);
    const link = join(folder, 'link.prom');
    symlinkSync(join(world.host.home, 'target'), link);
    await refused(link, 2, /link\.prom/);
    assert.equal(existsSync(join(world.host.home, 'target')), false);
    await refused(join(folder, 'x.txt'), 2, /\.prom/);
    await refused(join(folder, 'none/x.prom'), 2, /none/);
    await refused('/tmp/x.prom', 2, /\/tmp/);
    assert.equal(readFileSync(path, 'utf8'), before);
  });

  it('tells of a silence once, by prune or by metrics', async () => {
    const told = join(world.host.home, 'told');
    const hook = join(world.host.home, 'hook');
    const script = `#!/bin/sh\necho "$DIALBACK_HOOK $DIALBACK_CLIENT $DIALBACK_OUTCOME $DIALBACK_MAX_AGE" >> '${told}'\n`;
    world.write(world.host, hook, script, 0o700);
    configure(`max_age = "36h"\n[hooks]\nsilent = "${hook}"\n[client.other]\nmax_age = "1d"`);
    assert.equal((await host('prune')).status, 0);
    assert.equal((await host('status')).status, 0);
    assert.equal(existsSync(told), false);
    // Two days pass.
    const [name = ''] = world.snapshots();
    const earlier = new Date(Date.now() - 2 * DAY_MS).toISOString().slice(0, 19).replaceAll(':', '-');
    renameSync(join(world.shelf, 'snapshots', name), join(world.shelf, `snapshots/${earlier}Z`));
    const state = await host('status', '--json');
    assert.equal(state.status, 2);
    const [client] = JSON.parse(state.stdout) as { level: string; silent: { last_full: string } }[];
    assert.deepEqual([client?.level, client?.silent.last_full], ['critical', `${earlier}Z`]);
    assert.equal((await host('status', '--max-age', '1w')).status, 2);
    assert.equal((await host('prune', '--dry-run')).status, 0);
    assert.equal(existsSync(told), false);
    text = (await host('metrics')).stdout;
    assert.equal(numberOf('client_silent'), 1);
    assert.match(text, /^dialback_client_problem\{.*,code="silent",level="critical"\} 1$/m);
    assert.equal((await host('prune')).status, 0);
    await Promise.all([host('metrics'), host('prune'), host('metrics')]);
    assert.equal(readFileSync(told, 'utf8'), `silent ${world.name} silent 129600\n`);
    // Root reads the store, and neither tells nor writes.
    configure(`max_age = "1h"\n[hooks]\nsilent = "${hook}"`);
    assert.equal((await world.run('root', ['metrics', '--config', world.hostToml])).status, 0);
    assert.equal(readFileSync(told, 'utf8').split('\n').length, 2);
  });

  it('ends the silence with the next full backup', async () => {
    assert.equal((await world.backup()).status, 0);
    text = (await host('metrics')).stdout;
    assert.equal(numberOf('client_silent'), 0);
    assert.equal(existsSync(join(world.shelf, 'silence.json')), false);
    assert.equal((await host('status')).status, 0);
  });

  itLong('rotates the journals of both machines, and counts failures across the files', async () => {
    configure('[journal]\nmax_size = "64K"');
    const clientJournal = join(world.clientState, 'journal.jsonl');
    const hostJournal = join(world.shelf, 'journal.jsonl');
    const failed = { event: 'run', outcome: 'failed', code: 'lost', reason: 'x'.repeat(500), snapshot: null };
    const lines = Array.from({ length: 140 }, (_, number) => JSON.stringify({ ...failed, number })).join(
      '\n',
    );
    for (const [party, path] of [
      [world.client, clientJournal],
      [world.host, hostJournal],
    ] as const)
      world.write(party, path, `${readFileSync(path, 'utf8')}${lines}\n`);
    writeFileSync(
      world.clientToml,
      `${readFileSync(world.clientToml, 'utf8')}\n[journal]\nmax_size = "64K"\n`,
    );
    assert.equal((await host('pin', `${world.name}@latest`)).status, 0);
    const [client] = JSON.parse((await host('status', '--json')).stdout) as { failures: { count: number } }[];
    assert.equal(client?.failures.count, 140);
    text = (await host('metrics')).stdout;
    assert.equal(numberOf('client_failures'), 140);
    assert.equal(numberOf('client_pinned_snapshots'), 1);
    assert.equal((await world.backup()).status, 0);
    for (const path of [clientJournal, hostJournal]) {
      assert.equal(existsSync(`${path}.1`), true, path);
      assert.equal(statSync(`${path}.1`).mode & 0o777, 0o600);
      assert.ok(statSync(path).size < 10_000);
    }
    assert.equal((await host('status')).status, 0);
    // Nothing is written through a link.
    renameSync(hostJournal, `${hostJournal}.2`);
    symlinkSync(join(world.host.home, 'target'), hostJournal);
    await world.backup();
    assert.equal(existsSync(join(world.host.home, 'target')), false);
  });

  if (IS_LONG)
    it('is valid for promtool', { skip: NEEDS_PROMTOOL }, () => {
      assert.equal(promtool(['check', 'metrics'], text), '');
    });
});

if (IS_LONG)
  describe('share/monitoring', () => {
    const rules = join(TOP, 'share/monitoring/dialback.rules.yml');

    it('has rules that promtool accepts, and that fire', { skip: NEEDS_PROMTOOL }, () => {
      assert.equal(promtool(['check', 'rules', '--lint-fatal', rules]), '');
      assert.equal(promtool(['test', 'rules', join(TOP, 'test/support/dialback.rules.test.yml')]), '');
    });
  });
