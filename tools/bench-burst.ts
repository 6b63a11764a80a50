/**
 * Many clients that call a host at the same moment: the time until all are done, the wait of each, and their order. It also measures
 * the memory of both sides.
 *
 *     node tools/bench-burst.ts [--clients 200] [--concurrent 4,16] [--files 30] [--json FILE]
 *
 * Real backups over ssh on this machine, half of them over a channel, for each value of max_concurrent with a fresh store. Needs
 * root. It leaves nothing behind, and judges nothing.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Bed } from './runs/bed.ts';
import { enterOwnNetwork } from './runs/network.ts';
import {
  describeCommand,
  describeCommit,
  describeMachine,
  median,
  pointTable,
  type TableRecord,
  writeRecord,
} from './runs/results.ts';

const { values } = parseArgs({
  options: {
    clients: { type: 'string', default: '200' },
    concurrent: { type: 'string', default: '4,16' },
    files: { type: 'string', default: '30' },
    json: { type: 'string' },
  },
});
enterOwnNetwork();

const FILES = Number(values.files);
const SAMPLE_MS = 100;
const MEBIBYTE = 2 ** 20;
const LATE = 0.95;

interface Client {
  name: string;
  toml: string;
}

interface Line {
  event: string;
  time: string;
}

async function makeClient(bed: Bed, number: number, hostToml: string): Promise<Client> {
  const { world } = bed;
  const name = `client${number}`;
  const data = join(bed.data, name);
  mkdirSync(data);
  for (let file = 0; file < FILES; file += 1)
    writeFileSync(join(data, `file ${file}`), `${name} ${file}\n`.repeat(1 + file * 50));
  const identity = join(bed.home('client'), name);
  world.keygen(world.client, identity);
  const words = ['enroll', name, '-', '--config', hostToml, '--authorized-keys', world.authorizedKeys];
  const made = await world.run(world.host, words, { input: readFileSync(`${identity}.pub`) });
  if (made.status !== 0) throw new Error(made.stderr);
  const way = number % 2 === 0 ? 'transport = "channel"' : 'from = ["127.0.0.1"]\nlisten = "127.0.0.1:0"';
  const toml = join(bed.home('client'), `${name}.toml`);
  const lines = [
    `name = "${name}"\nstate = "${world.client.home}/state ${name}"\ncapability = "confined"`,
    `[[remote]]\nname = "vault"\ntarget = "${world.target}"\nidentity = "${identity}"`,
    `known_hosts = "${bed.home('client')}/known"\n${way}`,
    `[scope]\nroots = ["${data}"]\n[limits]\nnice = 0\nionice = "none"\ndeadline = "3h"\n`,
  ];
  world.write(world.client, toml, lines.join('\n'));
  return { name, toml };
}

/** How many clients are pulled from at once, at the most. */
function watchPulls(bed: Bed): () => number {
  let most = 0;
  const timer = setInterval(() => {
    const pulling = new Set<string>();
    for (const { command } of bed.world.processes()) {
      const from = /^\S*rsync -\S* .*\/clients\/([^/]+)\/arriving\//.exec(command)?.[1];
      if (from !== undefined) pulling.add(from);
    }
    most = Math.max(most, pulling.size);
  }, SAMPLE_MS);
  return () => {
    clearInterval(timer);
    return most;
  };
}

function share(all: readonly number[], part: number): number {
  return (
    [...all].sort((a, b) => a - b)[Math.min(all.length - 1, Math.floor(all.length * part))] ?? Number.NaN
  );
}

async function measure(count: number, concurrent: number): Promise<Record<string, number>> {
  await using bed = await Bed.make({ fileSystem: 'ext4', gib: 20, inodes: 1_000_000, mount: '' });
  const { world } = bed;
  const store = bed.store('burst');
  const hostToml = join(bed.home('host'), 'burst.toml');
  world.write(
    world.host,
    hostToml,
    `store = "${store}"\nsyslog = false\n[requests]\nmax_concurrent = ${concurrent}\n`,
  );
  const clients: Client[] = [];
  for (let number = 0; number < count; number += 1) clients.push(await makeClient(bed, number, hostToml));
  const owner = `${world.client.uid}:${world.client.gid}`;
  await world.start('root', 'chown', ['-R', owner, bed.data]).done;
  const endPulls = watchPulls(bed);
  const begunMs = Date.now();
  const calls: number[] = [];
  const cost = await bed.measure(async () => {
    const outputs = await Promise.all(
      clients.map(({ toml }) => bed.run('client', [world.binary, 'backup', '--json', '--config', toml])),
    );
    for (const each of outputs) calls.push(1 + each.split('"why":"turn"').length - 1);
  });
  const pulls = endPulls();
  const journals = clients.map(({ name }) => {
    const folder = join(store, 'clients', name);
    if (readdirSync(join(folder, 'snapshots')).length !== 1) throw new Error(`${name} has no snapshot`);
    const lines = readFileSync(join(folder, 'journal.jsonl'), 'utf8').trim().split('\n');
    return lines.map(line => JSON.parse(line) as Line);
  });
  const timeOf = (journal: Line[], event: string): number => {
    const found = journal.find(each => each.event === event);
    return found === undefined ? Number.NaN : Date.parse(found.time);
  };
  const done = journals.map(each => timeOf(each, 'committed'));
  const waits = done.map(each => (each - begunMs) / 1000);
  const queued = journals
    .map((journal, at) => ({ told: timeOf(journal, 'queued'), done: done[at] ?? Number.NaN }))
    .filter(each => !Number.isNaN(each.told));
  const overtaken = queued.map(
    each => queued.filter(other => other.told > each.told && other.done < each.done).length,
  );
  return {
    'all are done after, s': cost.seconds,
    'backups in a minute': (count * 60) / cost.seconds,
    'a client is done after, median, s': median(waits),
    'the same, 95 of 100 clients, s': share(waits, LATE),
    'the same, the last one, s': Math.max(...waits),
    'calls of a client, median': median(calls),
    'calls of a client, most': Math.max(...calls),
    'clients that had to wait': queued.length,
    'overtaken by clients that came later, most': Math.max(0, ...overtaken),
    'overtaken by clients that came later, median': median(overtaken.length > 0 ? overtaken : [0]),
    'pulls at once, most': pulls,
    'memory of the host, most, MiB': cost.hostMemory / MEBIBYTE,
    'memory of the clients, most, MiB': cost.clientMemory / MEBIBYTE,
    'processor of the host for a backup, s': cost.host / count,
    'processor of a client for a backup, s': cost.client / count,
  };
}

const COUNT = Number(values.clients);
const record: TableRecord = {
  kind: 'burst',
  title: `${COUNT} clients at once`,
  of: 'max_concurrent',
  hasSlope: false,
  date: new Date().toISOString(),
  command: describeCommand('bench-burst.ts'),
  machine: describeMachine(),
  versions: { commit: describeCommit() },
  points: [],
};
const json =
  values.json ?? join(import.meta.dirname, `../dist/bench/burst-${record.date.replaceAll(':', '-')}.json`);
for (const concurrent of values.concurrent.split(',').map(Number)) {
  record.points.push({ at: concurrent, values: await measure(COUNT, concurrent) });
  writeRecord(json, record);
}
console.log(`${record.title}, ${FILES} files each\n\n${pointTable(record)}\n\nAll results: ${json}`);
