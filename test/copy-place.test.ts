import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { CopyFolder } from '../src/store/copy-folder.ts';
import {
  attemptsOf,
  nextAttempt,
  type PlaceFacts,
  parseAttempt,
  parseCopied,
  whyNoCopy,
} from '../src/store/copy-place.ts';
import { parseRemotePlace } from '../src/store/copy-remote.ts';
import { farCommand } from '../src/store/copy-script.ts';
import { parseVerified } from '../src/store/copy-verified.ts';
import { encodeCopyMark, isSameSource, parseCopyMark } from '../src/store/store-mark.ts';
import { emptyVerified } from '../src/store/verify.ts';
import { scratch, withoutOpening } from './support/scratch.ts';
import { says } from './support/wording.ts';

const SNAPSHOT = '2026-11-23T00-12-00Z';
const ID = 'a'.repeat(32);
const SOURCE = { of: ID, path: '/store' };
const NOTHING: PlaceFacts = {
  state: 'copy',
  mark: SOURCE,
  inside: undefined,
  contains: false,
  snapshots: new Map(),
  attempts: new Map(),
  copied: new Set(),
  freeBytes: undefined,
};

describe('parseAttempt()', () => {
  it('takes SNAPSHOT.NUMBER', () => {
    assert.deepEqual(parseAttempt(`${SNAPSHOT}.12`), { snapshot: SNAPSHOT, number: 12 });
  });

  it('refuses any other name', () => {
    for (const name of [
      '',
      SNAPSHOT,
      `${SNAPSHOT}.0`,
      `${SNAPSHOT}.1/..`,
      `${SNAPSHOT}.01`,
      `../${SNAPSHOT}.1`,
      `${SNAPSHOT}.-1`,
    ])
      assert.equal(parseAttempt(name), undefined, name);
  });
});

describe('attemptsOf() and nextAttempt()', () => {
  it('order by number, and count on', () => {
    const all = [`${SNAPSHOT}.2`, `${SNAPSHOT}.10`, '2026-11-24T00-12-00Z.30', 'x'];
    assert.deepEqual(attemptsOf(all, SNAPSHOT), [`${SNAPSHOT}.10`, `${SNAPSHOT}.2`]);
    assert.equal(nextAttempt(SNAPSHOT, attemptsOf(all, SNAPSHOT)), `${SNAPSHOT}.11`);
    assert.equal(nextAttempt(SNAPSHOT, []), `${SNAPSHOT}.1`);
  });
});

describe('parseCopied()', () => {
  it('takes lines of a client and a snapshot, and leaves out others', () => {
    const text = `a ${SNAPSHOT}\n../b ${SNAPSHOT}\na ${SNAPSHOT} x\na\nb ${SNAPSHOT}\na ${SNAPSHOT.slice(2)}`;
    assert.deepEqual([...parseCopied(text)], [`a@${SNAPSHOT}`, `b@${SNAPSHOT}`]);
  });
});

describe('copy marks', () => {
  it('come back as they were', () => {
    for (const mark of [SOURCE, { of: null, path: '/a "b"\n' }])
      assert.deepEqual(parseCopyMark(encodeCopyMark(mark)), mark);
  });

  it('of another form are refused', () => {
    const texts = [
      '',
      '{}',
      '[]',
      'null',
      '{"version":2,"of":null,"path":"/"}',
      '{"version":1,"of":"x","path":"/"}',
    ];
    for (const text of [...texts, '{"version":1,"of":null,"path":1}'])
      assert.equal(parseCopyMark(text), undefined, text);
  });

  it('belong together by the id, and without one by the path', () => {
    assert.ok(isSameSource(SOURCE, { of: ID, path: '/moved' }));
    assert.ok(isSameSource({ of: null, path: '/store' }, SOURCE));
    assert.ok(!isSameSource(SOURCE, { of: 'b'.repeat(32), path: '/store' }));
    assert.ok(!isSameSource({ of: null, path: '/other' }, SOURCE));
  });
});

describe('whyNoCopy()', () => {
  const own = new Map([['a', [SNAPSHOT]]]);
  const why = (facts: Partial<PlaceFacts>): string | undefined =>
    whyNoCopy('DIR', { ...NOTHING, ...facts }, SOURCE, own)?.found;

  it('takes an absent or empty folder, and a copy of this store', () => {
    for (const state of ['absent', 'empty', 'copy'] as const) assert.equal(why({ state }), undefined);
    assert.equal(why({ snapshots: own }), undefined);
  });

  it('takes snapshots that the store has removed, if they were copied', () => {
    const snapshots = new Map([['b', [SNAPSHOT]]]);
    assert.equal(why({ snapshots, copied: new Set([`b@${SNAPSHOT}`]) }), undefined);
    assert.match(why({ snapshots }) ?? '', says('backups-made-into-the-copy', 'b'));
  });

  it('refuses everything else', () => {
    assert.match(why({ state: 'store' }) ?? '', /no copy/);
    assert.match(why({ state: 'other' }) ?? '', /not empty/);
    assert.match(why({ mark: undefined }) ?? '', /cannot be read/);
    assert.match(why({ mark: { of: 'b'.repeat(32), path: '/x' } }) ?? '', /another store/);
    // The mark is from outside, and the reason reaches the terminal.
    const strange = why({ mark: { of: 'b'.repeat(32), path: '/\x1b]0;x\x07' } }) ?? '';
    assert.ok(strange !== '' && !/\p{Cc}/u.test(strange), JSON.stringify(strange));
    assert.match(why({ inside: '/store', state: 'absent' }) ?? '', says('copy-inside-the-store'));
    assert.match(why({ contains: true, state: 'other' }) ?? '', says('store-inside-the-copy'));
  });
});

describe('parseRemotePlace()', () => {
  it('takes HOST:DIR, as rsync does', () => {
    assert.deepEqual(parseRemotePlace('box:/a:b'), { host: 'box', folder: '/a:b' });
    assert.deepEqual(parseRemotePlace('me@box:dir'), { host: 'me@box', folder: 'dir' });
    assert.deepEqual(parseRemotePlace('[::1]:/a'), { host: '[::1]', folder: '/a' });
    assert.deepEqual(parseRemotePlace('box:'), { host: 'box', folder: '' });
  });

  it('takes a path whose colon is behind a slash for a folder of this machine', () => {
    for (const path of ['/a:b', './a:b', 'a', 'a/b:c', '/'])
      assert.equal(parseRemotePlace(path), undefined, path);
  });
});

describe('farCommand()', () => {
  it('is one word in single quotes', () => {
    const [, script = ''] = /^exec sh -c '([^']*)'$/.exec(farCommand()) ?? [];
    assert.match(script, /^\nset -eu/);
  });
});

describe('parseVerified()', () => {
  const good = { ...emptyVerified('a', 100), snapshots: [SNAPSHOT], damaged_count: 2 };

  it('takes the output of verify for one client', () => {
    assert.deepEqual(parseVerified(JSON.stringify([good]), 'a'), good);
  });

  it('escapes the words of the other machine', () => {
    const records = [{ snapshot: SNAPSHOT, name: 'tree\u001b', found: 'x\n' }];
    const found = parseVerified(JSON.stringify([{ ...good, failed: '\u001b[31m', records }]), 'a');
    assert.equal(found?.failed, '\\u001b[31m');
    assert.deepEqual(found?.records, [{ snapshot: SNAPSHOT, name: 'tree\\u001b', found: 'x\\n' }]);
  });

  it('refuses anything else', () => {
    for (const more of [
      { snapshots: ['../x'] },
      { made: 'x' },
      { damaged_count: -1 },
      { names: 'x' },
      { failed: 1 },
      { client: 'b' },
    ])
      assert.equal(
        parseVerified(JSON.stringify([{ ...good, ...more }]), 'a'),
        undefined,
        JSON.stringify(more),
      );
    assert.equal(parseVerified(JSON.stringify([good, good]), 'a'), undefined);
    const any = fc.property(fc.oneof(fc.json(), fc.string()), text => {
      assert.equal(parseVerified(text, 'a'), undefined);
    });
    fc.assert(any);
  });
});

describe('CopyFolder', () => {
  it('forgets every attempt when a sync has failed', async t => {
    const root = `${scratch(t)}/copy`;
    const place = new CopyFolder(root, SOURCE.path);
    await place.prepare(SOURCE);
    await place.addClient('oak');
    await place.begin('oak', `${SNAPSHOT}.1`);
    await withoutOpening(root, async () => {
      await assert.rejects(place.finish('oak', `${SNAPSHOT}.1`));
    });
    assert.deepEqual(readdirSync(`${root}/copying/oak`), [`${SNAPSHOT}.1`]);
    await place.prepare(SOURCE);
    assert.equal(existsSync(`${root}/copying/oak`), false);
    assert.equal(existsSync(`${root}/copied`), false);
  });
});
