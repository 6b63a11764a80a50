import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { overviewMetrics } from '../src/output/overview-metrics.ts';

const SHARE = join(import.meta.dirname, '../share/monitoring');
const sample = (name: string): string => readFileSync(join(SHARE, name), 'utf8');

/** The names of all metrics. */
const NAMES = new Set(
  overviewMetrics(
    {
      ...{ at: '2026-11-30T00:00:00.000Z', store: '/s', level: 'ok', problems: [], clients: [] },
      disk: {
        ...{ total_bytes: 1, free_bytes: 1, min_free_bytes: 1, total_inodes: 1, free_inodes: 1 },
        forecast: null,
      },
    },
    'x',
  ).map(each => each.name),
);

/** The metrics that a text names. */
const named = (text: string): string[] => [...new Set(text.match(/\bdialback_[a-z_]+/g))];

describe('share/monitoring/dialback.rules.yml', () => {
  it('uses metrics that exist', () => {
    const text = sample('dialback.rules.yml');
    assert.ok(named(text).length > 8);
    for (const each of named(text)) assert.ok(NAMES.has(each), each);
  });
});

describe('share/monitoring/grafana.json', () => {
  const board = JSON.parse(sample('grafana.json')) as {
    uid: string;
    panels: { id: number; title: string; gridPos: Record<string, number>; targets: { expr: string }[] }[];
    templating: { list: { name: string }[] };
  };

  it('uses metrics and variables that exist', () => {
    const text = JSON.stringify(board);
    for (const each of named(text)) assert.ok(NAMES.has(each), each);
    const variables = board.templating.list.map(each => each.name);
    assert.deepEqual(variables, ['datasource', 'store', 'client']);
    for (const [, name = ''] of text.matchAll(/\$\{?([a-z]+)\}?/g)) assert.ok(variables.includes(name), name);
  });

  it('has panels with a query each, and none over another', () => {
    const taken = new Set<string>();
    for (const { title, targets, gridPos } of board.panels) {
      assert.ok(targets.length > 0, title);
      const { x = 0, y = 0, w = 0, h = 0 } = gridPos;
      assert.ok(x + w <= 24, title);
      for (let column = x; column < x + w; column += 1)
        for (let row = y; row < y + h; row += 1) {
          assert.equal(taken.has(`${column} ${row}`), false, title);
          taken.add(`${column} ${row}`);
        }
    }
    assert.equal(new Set(board.panels.map(each => each.id)).size, board.panels.length);
  });
});

describe('share/monitoring/icinga2.conf and nagios.cfg', () => {
  it('call status, which has the exit statuses of a plugin', () => {
    assert.match(sample('nagios.cfg'), /^# +command\[check_dialback\]=.*\/dialback status$/m);
    assert.match(sample('icinga2.conf'), /"\/usr\/local\/bin\/dialback", "status" \]/);
  });

  it('have all their brackets', () => {
    for (const name of ['icinga2.conf', 'nagios.cfg']) {
      const text = sample(name).replaceAll(/"(?:[^"\\]|\\.)*"|^#.*$|\/\*[\s\S]*?\*\//gm, '');
      for (const [open, close] of ['{}', '[]', '()'])
        assert.equal(text.split(open ?? '').length, text.split(close ?? '').length, `${name} ${open}`);
    }
  });
});

describe('share/monitoring/uptime-kuma', () => {
  let top: string;
  let server: Server;
  let answer = 200;
  const heard: URL[] = [];

  before(async () => {
    top = mkdtempSync(`${tmpdir()}/dialback kuma `);
    server = createServer((request, response) => {
      heard.push(new URL(request.url ?? '', 'http://localhost'));
      response.writeHead(answer).end();
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    const port = typeof address === 'object' && address ? address.port : 0;
    writeFileSync(join(top, 'kuma.curl'), `url = "http://127.0.0.1:${port}/api/push/0123"\n`);
  });
  after(() => {
    server.close();
    rmSync(top, { recursive: true });
  });

  /** Runs it with a dialback that prints `output` and exits with `status`. */
  async function report(output: string, status: number): Promise<number> {
    const dialback = join(top, 'dialback');
    writeFileSync(join(top, 'output'), output);
    writeFileSync(dialback, `#!/bin/sh\ncat '${top}/output'\nexit ${status}\n`, { mode: 0o700 });
    const environment = { PATH: process.env.PATH, DIALBACK: dialback };
    const child = spawn(join(SHARE, 'uptime-kuma'), [join(top, 'kuma.curl')], {
      env: environment,
      stdio: 'ignore',
    });
    const [code] = (await once(child, 'close')) as [number];
    return code;
  }

  it('reports up, a warning, and down with the first problem', async () => {
    const table = 'state     client\ncritical  a\n';
    for (const [output, status, wanted, message] of [
      [table, 0, 'up', 'ok'],
      [`${table}a: some "warning" & more\n`, 1, 'up', 'warning: a: some "warning" & more'],
      [`${table}a: silent\nb: other\n`, 2, 'down', 'a: silent'],
      [`dialback: Cannot use it\n`, 9, 'down', 'dialback: Cannot use it'],
      ['', 2, 'down', ''],
    ] as const) {
      assert.equal(await report(output, status), 0);
      const found = heard.at(-1);
      assert.equal(found?.pathname, '/api/push/0123');
      assert.deepEqual([found.searchParams.get('status'), found.searchParams.get('msg')], [wanted, message]);
    }
  });

  it('fails if the report cannot be sent, or the file cannot be read', async () => {
    answer = 404;
    assert.equal(await report('', 0), 1);
    const { status, stderr } = spawnSync(join(SHARE, 'uptime-kuma'), [join(top, 'none')], {
      encoding: 'utf8',
    });
    assert.equal(status, 1);
    assert.match(stderr, /dialback kuma .*none/);
  });
});
