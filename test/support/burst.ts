/** A host that takes four runs at once, and many clients that call it at the same moment. */
import assert from 'node:assert/strict';
import { chownSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from './checkout.ts';
import { lastLine, NEEDS_ROOT, type Result, World } from './world.ts';

const AT_ONCE = 4;
const FILES = 30;
/** Private memory, and the share of shared memory, of all processes on the host for one client. */
const MOST_PSS_KIB = 90 * 1024;
const SAMPLE_MS = 100;

/** The maxima that were seen of the host's processes. */
interface Most {
  pulling: number;
  grabs: number;
  pssKib: number;
  perGrabKib: number;
}

/** Many clients call at once. */
export function burstSuite(count: number): void {
  describe(`${count} clients at once`, { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => burstTests(count));
}

function burstTests(count: number): void {
  let world: World;
  const names = Array.from({ length: count }, (_, index) => `client${index}`);
  const most: Most = { pulling: 0, grabs: 0, pssKib: 0, perGrabKib: 0 };
  let results: Result[];
  let tookMs: number;

  before(async () => {
    world = await World.make();
    world.write(
      world.host,
      world.hostToml,
      `store = "${world.store}"\nsyslog = false\n[requests]\nmax_concurrent = ${AT_ONCE}\n`,
    );
    for (const [index, name] of names.entries()) await makeClient(name, index % 2 === 1);
  });
  after(async () => {
    await world.dispose();
  });

  async function makeClient(name: string, isChannel: boolean): Promise<void> {
    const { client } = world;
    const data = join(client.home, `data of ${name}`);
    mkdirSync(data);
    chownSync(data, client.uid, client.gid);
    for (let index = 0; index < FILES; index += 1)
      writeFileSync(join(data, `file ${index}`), `${name} ${index}\n`.repeat(1 + index * 50));
    const identity = join(client.home, `.ssh/${name}`);
    world.keygen(client, identity);
    const enrolled = await world.enroll(name, readFileSync(`${identity}.pub`, 'utf8'));
    assert.equal(enrolled.status, 0, enrolled.stderr);
    const way = isChannel ? 'transport = "channel"' : 'from = ["127.0.0.1"]\nlisten = "127.0.0.1:0"';
    world.write(
      client,
      tomlOf(name),
      [
        `name = "${name}"\nstate = "${client.home}/state of ${name}"`,
        `[[remote]]\nname = "vault"\ntarget = "${world.target}"\nidentity = "${identity}"\n${way}`,
        `[scope]\nroots = ["${data}"]\n[limits]\nnice = 0\nionice = "none"\ndeadline = "10m"\n`,
      ].join('\n'),
    );
  }

  const tomlOf = (name: string): string => join(world.client.home, `${name}.toml`);

  function journalOf(name: string): { event: string; time: string }[] {
    const lines = readFileSync(join(world.store, 'clients', name, 'journal.jsonl'), 'utf8')
      .trim()
      .split('\n');
    return lines.map(line => JSON.parse(line));
  }

  function sample(): void {
    const pulling = new Set<string>();
    let grabs = 0;
    let pssKib = 0;
    for (const { pid, command } of world.processes()) {
      const isGrab = /dialback grab --client/.test(command) && !command.startsWith('sh ');
      const from = /^\S*rsync -\S* .*\/clients\/([^/]+)\/arriving\//.exec(command)?.[1];
      if (!isGrab && from === undefined) continue;
      if (isGrab) grabs += 1;
      if (from !== undefined) pulling.add(from);
      pssKib += pssOf(pid);
    }
    most.pulling = Math.max(most.pulling, pulling.size);
    most.grabs = Math.max(most.grabs, grabs);
    most.pssKib = Math.max(most.pssKib, pssKib);
    if (grabs > 0) most.perGrabKib = Math.max(most.perGrabKib, pssKib / grabs);
  }

  function pssOf(pid: number): number {
    try {
      const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1');
      return Number(/^Pss:\s+(\d+)/m.exec(text)?.[1] ?? 0);
    } catch {
      return 0; // it has ended
    }
  }

  it('are all done', async () => {
    const timer = setInterval(sample, SAMPLE_MS);
    const started = performance.now();
    results = await Promise.all(
      names.map(name =>
        world.run(world.client, ['backup', '--json', '--config', tomlOf(name)], { timeoutMs: 10 * 60_000 }),
      ),
    );
    tookMs = performance.now() - started;
    clearInterval(timer);
    for (const [index, result] of results.entries()) {
      assert.equal(result.status, 0, `${names[index]}: ${result.stdout}${result.stderr}`);
      assert.equal(lastLine(result).outcome, 'full');
    }
    await world.settled();
    for (const name of names)
      assert.equal(readdirSync(join(world.store, 'clients', name, 'snapshots')).length, 1, name);
  });

  it('were pulled from four at a time, and the rest waited with nothing open', t => {
    assert.ok(most.pulling > 1 && most.pulling <= AT_ONCE, `${most.pulling} at once`);
    assert.ok(most.perGrabKib < MOST_PSS_KIB, `${Math.round(most.perGrabKib / 1024)} MiB for one client`);
    const waits = results.map(
      result => result.stdout.split('\n').filter(line => line.includes('"why":"turn"')).length,
    );
    assert.ok(waits.filter(count => count > 0).length >= count / 4, 'many have waited');
    t.diagnostic(
      `${count} clients in ${(tookMs / 1000).toFixed(1)} s; most at once: ${most.pulling} pulls, ${most.grabs} grabs`,
    );
    t.diagnostic(
      `most memory at once: ${Math.round(most.pssKib / 1024)} MiB (PSS), ${Math.round(most.perGrabKib / 1024)} MiB for one grab and its rsync`,
    );
    t.diagnostic(`times told to wait: ${waits.join(' ')}`);
  });

  it('and none was starved', t => {
    const waited = names.flatMap(name => {
      const journal = journalOf(name);
      const told = journal.find(each => each.event === 'queued');
      const done = journal.find(each => each.event === 'committed');
      return told && done ? [{ told: Date.parse(told.time), done: Date.parse(done.time) }] : [];
    });
    const longestMs = Math.max(...waited.map(each => each.done - each.told));
    const overtaken = waited.map(
      each => waited.filter(other => other.told > each.told && other.done < each.done).length,
    );
    t.diagnostic(`longest wait: ${(longestMs / 1000).toFixed(1)} s`);
    t.diagnostic(`overtaken by, each: ${overtaken.join(' ')}`);
    // A client that is away when two slots become free can be overtaken, but not by all others.
    assert.ok(Math.max(...overtaken) < count / 2, overtaken.join(' '));
  });

  it('every snapshot verifies', async () => {
    const { status, stdout, stderr } = await world.run(world.host, ['verify', '--config', world.hostToml]);
    assert.equal(status, 0, stdout + stderr);
    for (const name of names)
      assert.match(stdout, new RegExp(`^${name}: 1 snapshots verified, .* 0 damaged$`, 'm'));
  });
}
