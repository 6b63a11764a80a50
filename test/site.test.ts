// The pages without a browser: each link leads to a page, and each page is made of our own elements only.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after, before, describe, it } from 'node:test';
import { Fault } from '../src/fault.ts';
import { readHostConfig, storeSettings } from '../src/host/config.ts';
import { overviewOf } from '../src/store/overview.ts';
import type { PageContext } from '../src/web/contract.ts';
import { addressOf } from '../src/web/pages/address.ts';
import { reportOf } from '../src/web/pages/report.ts';
import { site } from '../src/web/pages/site.ts';
import { decodeName } from '../src/wire/text.ts';
import { HOSTILE_FOLDER, HOSTILE_NAMES, MANY, makeWebStore, type WebStore } from './support/web-store.ts';

let folder: string;
let made: WebStore;
let context: PageContext;

before(async () => {
  folder = mkdtempSync(`${tmpdir()}/dialback pages `);
  made = await makeWebStore(folder);
  writeFileSync(`${folder}/host.toml`, `store = "${made.store}"\nmax_age = "36h"\n`);
  const { signal } = new AbortController();
  context = { config: readHostConfig(`${folder}/host.toml`), store: made.store, now: made.now, signal };
});
after(() => rmSync(folder, { recursive: true, force: true }));

const decode = (text: string): string =>
  decodeName(
    Buffer.from(
      text.replace(/%(..)/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16))),
      'latin1',
    ),
  );

/** Makes the page of an address. */
async function pageOf(address: string): Promise<string> {
  const [path = '', query = ''] = address.split('#')[0]?.split('?') ?? [];
  const segments = path
    .split('/')
    .filter(each => each !== '')
    .map(decode);
  const fields = query
    .split('&')
    .filter(each => each !== '')
    .map(each => each.split('=').map(decode) as [string, string]);
  const page = site.pages.get(segments[0] ?? '');
  assert.ok(page, `no page for ${address}`);
  const { status, html } = await page({ path: segments, query: new Map(fields) }, context);
  assert.equal(status, 200, address);
  return html;
}

const ELEMENTS = new Set(
  'html head meta title link body a header nav ol ul li form button main h1 h2 h3 p footer div table caption thead tbody tr th td dl dt dd span bdi br b strong code time svg path line text rect circle g figure figcaption label input select option section style'.split(
    ' ',
  ),
);
const ATTRIBUTES = new Set(
  'lang charset name content rel href class id tabindex aria-current aria-label aria-labelledby method action type role scope title datetime dir value for maxlength autocomplete autofocus required spellcheck checked selected viewbox width height d x y x1 x2 y1 y2 cx cy r text-anchor http-equiv'.split(
    ' ',
  ),
);
const TAG = /<(\/?)([a-z][a-z0-9]*)((?:\s+[a-zA-Z0-9-]+(?:="[^"<>]*")?)*)\s*\/?>/g;

/** Requires that a page has only elements and attributes of ours, and that no character in it is active. */
function requireInert(html: string): void {
  const rest = html
    .replace('<!doctype html>', '')
    .replace(/<style>[^<]*<\/style>/, '')
    .replace(TAG, (_, __, element: string, attributes: string) => {
      assert.ok(ELEMENTS.has(element), `an element ${element}`);
      for (const [, name = ''] of attributes.matchAll(/\s+([a-zA-Z0-9-]+)(?:="[^"]*")?/g))
        assert.ok(ATTRIBUTES.has(name.toLowerCase()), `an attribute ${name} of ${element}`);
      return '';
    });
  assert.doesNotMatch(rest, /[<>]/);
  assert.doesNotMatch(html.replaceAll('\n', ''), /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u);
}

const linksOf = (html: string): string[] =>
  [...html.matchAll(/ href="([^"]*)"/g)].map(([, address = '']) => address.replaceAll('&amp;', '&'));

describe('site', () => {
  it('has links that all lead to a page, from the overview to each file', async () => {
    const seen = new Set<string>(['/']);
    const waiting = ['/'];
    const downloads = new Set<string>();
    while (waiting.length > 0 && seen.size < 400) {
      const address = waiting.shift() ?? '';
      const html = await pageOf(address);
      requireInert(html);
      for (const link of linksOf(html)) {
        if (link.startsWith('/download/')) downloads.add(link);
        const isPage = link.startsWith('/') && !/^\/(?:style\.css|download\/)/.test(link);
        // The pages of each snapshot are alike.
        const isRepeated =
          made.snapshots.slice(0, -2).some(name => link.includes(name)) || /\/many\//.test(link);
        if (!isPage || isRepeated || seen.has(link)) continue;
        seen.add(link);
        waiting.push(link);
      }
    }
    assert.equal(waiting.length, 0, 'all were followed');
    const newest = made.snapshots.at(-1) ?? '';
    for (const name of HOSTILE_NAMES) {
      const path = Buffer.concat([HOSTILE_FOLDER, Buffer.from('/'), name]);
      assert.ok(seen.has(addressOf('browse', ['oak', newest, path]) ?? ''), String(name));
      assert.ok(downloads.has(addressOf('download', ['oak', newest, path]) ?? ''), String(name));
    }
  });

  it('shows a folder in parts', async () => {
    const address = `/browse/oak/latest/many`;
    const found: string[] = [];
    for (let next: string | undefined = address; next !== undefined; ) {
      const html: string = await pageOf(next);
      found.push(
        ...[...html.matchAll(/<th scope="row" class="path"><a [^>]*><bdi[^>]*>(\d+)</g)].map(
          ([, name = '']) => name,
        ),
      );
      next = linksOf(html).find(each => each.includes('?after='));
    }
    assert.deepEqual(
      found,
      Array.from({ length: MANY }, (_, at) => String(at).padStart(4, '0')),
    );
  });

  it('shows the attributes as they were on the client', async () => {
    const file = await pageOf('/browse/oak/latest/etc/shadow');
    for (const text of [
      '0640 -rw-r-----',
      '0:42',
      'u:1000:r--',
      'user.comment',
      '&lt;script&gt;window.pwned=1',
    ])
      assert.ok(file.includes(text), text);
    const listing = await pageOf('/browse/oak/latest/etc');
    for (const text of ['-rwsr-xr-x', 'crw-rw-rw-', '>1, 3<', 'lrwxrwxrwx', '>ACL<', '>2 xattrs<'])
      assert.ok(listing.includes(text), text);
  });

  it('shows what retention does, pins and failed runs', async () => {
    const oak = await pageOf('/client/oak');
    for (const text of ['pinned', '&lt;i&gt;before&lt;/i&gt;', 'host-errors', '192.0.2.7'])
      assert.ok(oak.includes(text), text);
    const elm = await pageOf('/client/elm');
    assert.match(elm, /&lt;script&gt;window\.pwned=1&lt;\/script&gt; \\u202e failed/);
    assert.match(await pageOf('/client/ash'), /No snapshot yet/);
  });

  it('finds a part of a name, and what differs', async () => {
    assert.match(await pageOf('/search/oak?q=SHADOW'), />1 name</);
    assert.match(await pageOf('/search/oak?q=SHADOW&case=1'), /No name matches/);
    const [before = '', newest = ''] = made.snapshots.slice(-2);
    const html = await pageOf(`/diff/oak?before=${before}&after=${newest}`);
    for (const text of ['/etc/changing', 'content, time', '>added<', '70 B'])
      assert.ok(html.includes(text), text);
    assert.match(await pageOf(`/diff/oak/${before}/${newest}/many`), /time/);
  });

  it('chooses and orders clients', async () => {
    const rows = async (query: string): Promise<string[]> =>
      [...(await pageOf(`/${query}`)).matchAll(/<th scope="row"[^>]*><a href="\/client\/(\w+)"/g)].map(
        ([, name = '']) => name,
      );
    assert.deepEqual(await rows(''), ['ash', 'elm', 'oak']);
    assert.deepEqual(await rows('?sort=size'), ['oak', 'elm', 'ash']);
    assert.deepEqual(await rows('?state=problems'), ['ash', 'elm']);
    assert.deepEqual(await rows('?q=LM'), ['elm']);
    assert.deepEqual(await rows('?page=2'), []);
  });

  const REFUSED: [address: string, exit: string][] = [
    ['/client/none', 'failed'],
    ['/client/..', 'failed'],
    ['/browse/oak/none', 'failed'],
    ['/browse/oak/latest/none', 'failed'],
    ['/browse/oak/latest/etc/shadow/x', 'failed'],
    ['/browse/oak/latest/..', 'usage'],
    ['/browse/oak/latest/etc?what=1', 'usage'],
    ['/versions/oak/none', 'failed'],
    ['/versions/oak/etc?page=x', 'usage'],
    ['/search/oak?q=a&from=-1', 'usage'],
    ['/search/ash?q=a', 'failed'],
    ['/diff/oak?before=none&after=latest', 'failed'],
    ['/diff/oak/latest/latest/none', 'failed'],
    ['/?page=0', 'usage'],
  ];
  for (const [address, exit] of REFUSED)
    it(`refuses ${address}`, async () => {
      await assert.rejects(pageOf(address), (error: unknown) => {
        assert.ok(error instanceof Fault, String(error));
        assert.equal(error.exit, exit);
        const { tried, found, next } = error;
        requireInert(site.error({ status: 404, tried, found, next, isLoggedIn: true }));
        return true;
      });
    });

  it('has a login page and error pages without links to other pages', () => {
    const pages = [
      site.login('the token "<b>\u202E" is wrong', '"><b>'),
      site.error({ status: 500, tried: '<b>', found: '\u202E', next: undefined, isLoggedIn: false }),
    ];
    for (const html of pages) {
      requireInert(html);
      assert.deepEqual(linksOf(html), ['/style.css', '#content']);
    }
  });

  it('has no address outside of the server in its style sheet', () => {
    assert.doesNotMatch(site.style, /url\(|@import|<|https?:/);
  });
});

describe('reportOf()', () => {
  it('makes one file that refers only to itself', async () => {
    const { signal } = new AbortController();
    const html = reportOf(await overviewOf(storeSettings(context.config), signal, made.now));
    requireInert(html);
    assert.ok(linksOf(html).every(each => each.startsWith('#')));
    for (const [, id] of html.matchAll(/ href="#([^"]+)"/g)) assert.ok(html.includes(` id="${id}"`), id);
    for (const text of ['id="client-oak"', 'id="client-ash"', 'the last 4 runs failed', "default-src 'none'"])
      assert.ok(html.includes(text), text);
  });
});
