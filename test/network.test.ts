import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { describe, it } from 'node:test';
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
