// Goal: 10,000 slow connections keep no browser out of `dialback web`. A browser that sends its request at once is served, or refused
// quickly, and the server's memory and descriptors stay within their limits.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { addSnapshot } from '../../support/client-store.ts';
import { ask, login, type Running, WebSite } from '../../support/web-site.ts';
import { NEEDS_ROOT, until } from '../../support/world.ts';

const CONNECTIONS = 10_000;
const AT_ONCE = 500;

describe('dialback web with 10,000 slow connections', { skip: NEEDS_ROOT }, () => {
  let site: WebSite;
  let running: Running;
  let cookie: string;
  const slow: Socket[] = [];
  before(async () => {
    site = WebSite.make(makeClient => addSnapshot(makeClient('oak'), '2026-01-01T00-00-00Z'));
    running = await site.start();
    cookie = await login(running);
  });
  after(async () => {
    for (const each of slow) each.destroy();
    await running?.stop();
    site?.dispose();
  });
  const rssKb = (): number =>
    Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${site.serverPid()}/status`, 'latin1'))?.[1]);
  /** @returns the milliseconds until the response */
  const served = async (): Promise<number> => {
    const begun = performance.now();
    const { status } = await ask(running.place, { headers: { Cookie: cookie } });
    assert.equal(status, 200);
    return performance.now() - begun;
  };

  it('serves a browser while they are opened, and while they drip', async context => {
    const before = rssKb();
    const times: number[] = [];
    for (let count = 0; count < CONNECTIONS; count += AT_ONCE) {
      for (let number = 0; number < AT_ONCE; number += 1) {
        const socket = connect(Number(running.place), '127.0.0.1');
        socket.on('error', () => {}).resume();
        socket.write('GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ');
        slow.push(socket);
      }
      times.push(await served());
    }
    for (let turn = 0; turn < 10; turn += 1) {
      for (const each of slow) if (!each.destroyed) each.write('x');
      times.push(await served());
    }
    const [most = 0, more] = [Math.max(...times), rssKb() - before];
    const descriptors = readdirSync(`/proc/${site.serverPid()}/fd`).length;
    context.diagnostic(
      `slowest response ${Math.round(most)} ms, ${more} kB more memory, ${descriptors} descriptors`,
    );
    assert.ok(most < 5000, `${most} ms`);
    assert.ok(more < 200_000, `${more} kB`);
    assert.ok(descriptors < 500, `${descriptors} descriptors`);
  });

  it('closes those that take more than 10 s for their headers', async () => {
    await until('all slow connections are closed', () => slow.every(each => each.destroyed), 60_000);
    assert.ok((await served()) < 5000);
  });
});
