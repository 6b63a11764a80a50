import assert from 'node:assert/strict';
import type { Server } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { HostConfig } from '../src/host/config.ts';
import { monotonicMs } from '../src/os/clock.ts';
import type { Page } from '../src/web/contract.ts';
import { makeServer } from '../src/web/server.ts';
import { Sessions } from '../src/web/session.ts';

const STALLED_MS = 100;

/** A server with one page, whose clients may stall for STALLED_MS, and a request for the page. */
async function serve(page: Page): Promise<{ server: Server; request: string } & AsyncDisposable> {
  const sessions = new Sessions();
  const result = sessions.login(sessions.makeToken(monotonicMs()), monotonicMs());
  assert.ok('value' in result);
  const server = makeServer({
    names: { hosts: new Set(['oak']), isSecure: false },
    site: { pages: new Map([['', page]]), style: '', error: ({ found }) => found, login: () => 'login' },
    sessions,
    context: () => ({ config: {} as HostConfig, store: '/none', now: new Date(0) }),
    log: () => {},
  });
  server.timeout = STALLED_MS;
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  return {
    server,
    request: `GET / HTTP/1.1\r\nHost: oak\r\nCookie: dialback=${result.value}\r\n\r\n`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise(resolve => server.close(resolve));
    },
  };
}

function connectTo(server: Server): Socket {
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  socket.on('error', () => {});
  return socket;
}

describe('makeServer()', () => {
  it('answers a client that waits longer for a page than it may stall', async () => {
    await using served = await serve(async () => {
      await sleep(5 * STALLED_MS);
      return { status: 200, html: 'the page' };
    });
    const socket = connectTo(served.server);
    socket.write(served.request.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'));
    let text = '';
    for await (const chunk of socket) text += chunk;
    assert.match(text, /^HTTP\/1\.1 200 .*the page$/s);
  });

  it('closes the connection of a client that takes no bytes, or sends nothing', async () => {
    await using served = await serve(async () => ({ status: 200, html: 'x'.repeat(4_000_000) }));
    for (const bytes of [served.request.repeat(8), '']) {
      const [socket] = await Promise.all([
        new Promise<Socket>(resolve => served.server.once('connection', resolve)),
        connectTo(served.server).pause().write(bytes),
      ]);
      await new Promise(resolve => socket.once('close', resolve));
      assert.ok(socket.destroyed);
    }
  });
});
