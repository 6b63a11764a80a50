import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import { settleAll } from '../src/os/async.ts';
import { sourceTowards } from '../src/os/network.ts';

describe('sourceTowards()', () => {
  it("is the machine's own address when that is asked for", async () => {
    for (const address of ['127.0.0.1', '127.9.8.7', '::ffff:127.0.0.1'])
      assert.match((await sourceTowards(address)) ?? '', /^(::ffff:)?127\./, address);
  });

  it('is nothing when no route leads there', async () => {
    assert.equal(await sourceTowards('fe80::1%nowhere'), undefined);
  });

  it('sends nothing', async t => {
    const heard = createSocket('udp4');
    t.after(() => heard.close());
    heard.on('message', () => assert.fail('something came'));
    heard.bind(0, '127.0.0.1');
    await once(heard, 'listening');
    assert.equal(await sourceTowards('127.0.0.1', heard.address().port), '127.0.0.1');
    // What is sent now comes after whatever had been sent before.
    const other = createSocket('udp4');
    t.after(() => other.close());
    heard.removeAllListeners('message');
    other.send('last', heard.address().port, '127.0.0.1');
    const [message] = (await once(heard, 'message')) as [Buffer];
    assert.equal(message.toString(), 'last');
  });
});

describe('settleAll()', () => {
  it('has what each of them came to, in their order', async () => {
    const late = Promise.withResolvers<number>();
    const both = settleAll([late.promise, Promise.resolve('text')]);
    late.resolve(1);
    assert.deepEqual(await both, [1, 'text']);
  });

  it('waits for the others when one has failed, and throws what the first in the list did', async () => {
    const [late, later] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    let isOver = false;
    const all = settleAll([late.promise, Promise.reject(new Error('second')), later.promise]).finally(() => {
      isOver = true;
    });
    const thrown = assert.rejects(all, /^Error: first$/);
    late.reject(new Error('first'));
    await new Promise(resolve => setImmediate(resolve));
    assert.equal(isOver, false);
    later.resolve();
    await thrown;
  });
});
