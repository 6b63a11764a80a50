// Goal: all pages of `dialback web` work in its jail, as the built executable makes them, for a store whose names try to become markup.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { addressOf } from '../../../src/web/pages/address.ts';
import { ask, login, type Running, WebSite } from '../../support/web-site.ts';
import { HOSTILE_FOLDER, HOSTILE_NAMES, plantClients } from '../../support/web-store.ts';

const IS_ROOT = process.getuid?.() === 0;

describe('the pages of dialback web', { skip: IS_ROOT ? false : 'needs root' }, () => {
  let site: WebSite;
  let running: Running;
  let cookie: string;
  let snapshots: readonly string[];

  before(async () => {
    site = WebSite.make(makeClient => {
      snapshots = plantClients(makeClient, new Date());
    });
    running = await site.start();
    cookie = await login(running);
  });
  after(async () => {
    await running?.stop();
    site?.dispose();
  });

  const page = async (path: string): Promise<{ status: number; text: string }> => {
    const { status, body } = await ask(running.place, { path, headers: { Cookie: cookie } });
    const text = new TextDecoder('utf-8', { fatal: true }).decode(body);
    assert.doesNotMatch(text.replaceAll('\n', ''), /[\p{Cc}\p{Cf}\p{Cs}]/u, path);
    return { status, text };
  };

  it('show clients, files as they were on the client, versions, names and differences', async () => {
    const [previous = '', newest = ''] = snapshots.slice(-2);
    const pages: [address: string | undefined, texts: string[]][] = [
      ['/', ['/client/oak', '3 clients']],
      ['/client/oak', ['8 snapshots', 'host-errors', '<svg role="img"']],
      ['/client/ash', ['No snapshot yet']],
      ['/browse/oak/latest/etc', ['lrwxrwxrwx', '&rarr;', '-rwsr-xr-x', '2 xattrs']],
      ['/browse/oak/latest/etc/shadow', ['0640 -rw-r-----', 'u:1000:r--', 'user.comment']],
      [
        addressOf('browse', ['oak', newest, Buffer.from('many')], { after: '0199' }),
        ['450 entries', '>0399<'],
      ],
      ['/versions/oak/etc/changing', ['8 versions']],
      ['/search/oak?q=pwned', ['6 names', '&lt;img src=x onerror=window.pwned=1&gt;']],
      [`/diff/oak/${previous}/${newest}`, ['70 B</span> &rarr; <span title="80 bytes">', 'content, time']],
    ];
    for (const [address = '', texts] of pages) {
      const { status, text } = await page(address);
      assert.equal(status, 200, `${address}: ${text}`);
      for (const each of texts) assert.ok(text.includes(each), `${each} in ${address}`);
    }
  });

  it('have an address for each name, of a page and of the download', async () => {
    for (const name of HOSTILE_NAMES) {
      const path = Buffer.concat([HOSTILE_FOLDER, Buffer.from('/'), name]);
      const { status, text } = await page(addressOf('browse', ['oak', 'latest', path]) ?? '');
      assert.equal(status, 200, String(name));
      const [, download = ''] = /href="(\/download\/[^"]+)"/.exec(text) ?? [];
      const { status: found, body } = await ask(running.place, {
        path: download,
        headers: { Cookie: cookie },
      });
      assert.equal(found, 200, download);
      assert.equal(body.toString('utf8'), `content of ${name.toString('latin1')}\n`);
    }
  });

  it('refuse what is not there in words', async () => {
    for (const [path, status] of [
      ['/client/none', 404],
      ['/browse/oak/latest/none', 404],
      ['/none', 404],
      ['/search/oak?from=x', 400],
    ] as const) {
      const answer = await page(path);
      assert.equal(answer.status, status, path);
      assert.match(answer.text, /<h1>/);
    }
  });
});
