import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { describe, it, type TestContext } from 'node:test';
import { CLIENT_SCHEMA } from '../src/client/config.ts';
import { HOST_SCHEMA, storeSettings } from '../src/host/config.ts';
import { tellSilences } from '../src/host/silence-hook.ts';
import { takeLock } from '../src/os/runfolder.ts';
import { parseConfig } from '../src/shared/toml.ts';
import { overviewOf } from '../src/store/overview.ts';
import { type ClientStore, createClient, createStore } from '../src/store/store.ts';
import { snapshotName } from '../src/wire/text.ts';
import { addSnapshot } from './support/client-store.ts';
import { fault, scratch } from './support/scratch.ts';

const HOUR_MS = 3_600_000;
const SIGNAL = new AbortController().signal;

class Made {
  readonly folder: string;
  readonly store: string;

  constructor(context: TestContext) {
    this.folder = scratch(context);
    this.store = `${this.folder}/store`;
    createStore(this.store);
    this.program('echo "$DIALBACK_HOOK $DIALBACK_CLIENT $DIALBACK_SNAPSHOT $DIALBACK_MAX_AGE" >> "$1"');
  }

  /** Writes the hook. */
  program(script: string): void {
    writeFileSync(`${this.folder}/hook`, `#!/bin/sh\n${script}\n`, { mode: 0o700 });
  }

  client(name: string, ageMs: number): ClientStore {
    const client = createClient(this.store, name);
    addSnapshot(client, snapshotName(new Date(Date.now() - ageMs)));
    return client;
  }

  async tell(): Promise<number> {
    const lines = [
      `store = ${JSON.stringify(this.store)}\nmax_age = "36h"`,
      `[hooks]\nsilent = ${JSON.stringify([`${this.folder}/hook`, `${this.folder}/told`])}\ntimeout = "5s"`,
    ];
    const config = parseConfig(lines.join('\n'), 'host.toml', HOST_SCHEMA);
    const { clients } = await overviewOf(storeSettings(config), SIGNAL);
    return (await tellSilences(this.store, config.hooks, clients, SIGNAL)).length;
  }

  /** The lines of the hook. */
  told(): string[] {
    const path = `${this.folder}/told`;
    return existsSync(path) ? readFileSync(path, 'utf8').trim().split('\n') : [];
  }
}

const recordOf = ({ folder }: ClientStore): { result: string; told: string } =>
  JSON.parse(readFileSync(`${folder}/silence.json`, 'utf8')) as { result: string; told: string };

describe('tellSilences()', () => {
  it('runs the hook once for each silence, and again for the next one', async t => {
    const made = new Made(t);
    const client = made.client('a', 48 * HOUR_MS);
    made.client('b', HOUR_MS);
    for (let time = 0; time < 3; time += 1) assert.equal(await made.tell(), 0);
    const [first = ''] = made.told();
    assert.match(first, /^silent a 20[-0-9TZ]+ 129600$/);
    assert.equal(made.told().length, 1);
    assert.equal(recordOf(client).result, 'done');
    assert.match(readFileSync(`${client.folder}/journal.jsonl`, 'utf8'), /"hook":"silent"/);
    // A full backup ends it; a later silence is another one.
    addSnapshot(client, snapshotName(new Date(Date.now() - HOUR_MS)));
    await made.tell();
    assert.equal(existsSync(`${client.folder}/silence.json`), false);
    mkdirSync(`${made.folder}/away`);
    createClient(made.store, 'c');
    await made.tell();
    assert.equal(made.told().length, 1); // a new client has time
  });

  it('runs it again if it failed, and not before an hour has passed', async t => {
    const made = new Made(t);
    const client = made.client('a', 48 * HOUR_MS);
    made.program('echo tried >> "$1"; exit 1');
    assert.equal(await made.tell(), 1);
    assert.equal(await made.tell(), 0);
    assert.deepEqual(made.told(), ['tried']);
    const record = recordOf(client);
    assert.equal(record.result, 'failed');
    const earlier = new Date(Date.now() - HOUR_MS).toISOString();
    writeFileSync(`${client.folder}/silence.json`, JSON.stringify({ ...record, told: earlier }));
    assert.equal(await made.tell(), 1);
    assert.deepEqual(made.told(), ['tried', 'tried']);
  });

  it('does not run it again after it was killed in the middle', async t => {
    const made = new Made(t);
    const client = made.client('a', 48 * HOUR_MS);
    made.program(`cp "${client.folder}/silence.json" "$1"`);
    await made.tell();
    assert.match(made.told()[0] ?? '', /"result":"started"/);
    writeFileSync(`${client.folder}/silence.json`, made.told()[0] ?? '');
    made.program('echo again > "$1"');
    await made.tell();
    assert.notEqual(made.told()[0], 'again');
  });

  it('does nothing while another process tells', async t => {
    const made = new Made(t);
    made.client('a', 48 * HOUR_MS);
    {
      await using held = new AsyncDisposableStack();
      await takeLock(held, `${made.store}/silence.lock`);
      assert.equal(await made.tell(), 0);
      assert.deepEqual(made.told(), []);
    }
    await Promise.all([made.tell(), made.tell()]);
    assert.equal(made.told().length, 1);
  });

  it('names a hook that cannot run, and tries it later', async t => {
    const made = new Made(t);
    const client = made.client('a', 48 * HOUR_MS);
    made.program('sleep 60');
    assert.equal(await made.tell(), 1); // its timeout is 5 s
    assert.equal(recordOf(client).result, 'failed');
  });

  it('is a key of the host only', () => {
    const text = 'target = "a"\n[hooks]\nsilent = "/bin/true"\n';
    const { found } = fault(() =>
      parseConfig(text.replace('target', '[[remote]]\ntarget'), 'client.toml', CLIENT_SCHEMA),
    );
    assert.match(found, /hooks\.silent|"silent"/);
  });
});
