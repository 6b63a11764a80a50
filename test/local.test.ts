import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { adviceHere, diskInScope, whyAbsent } from '../src/client/local.ts';
import { parseMountTable, rootBeside } from '../src/os/mounts.ts';
import { FAILURES, type FailureCode } from '../src/wire/events.ts';
import { wording } from './support/wording.ts';

const line = (device: string, root: string, path: string, type = 'ext4'): string =>
  `1 1 ${device} ${root} ${path} rw - ${type} /dev/x rw`;

/** A laptop: / and /home on two partitions, a btrfs with two subvolumes, a USB disk, a bind mount of it. */
const TABLE = parseMountTable(
  [
    line('8:1', '/', '/'),
    line('8:2', '/', '/home'),
    line('0:30', '/@a', '/pool/a', 'btrfs'),
    line('0:30', '/@b', '/pool/b', 'btrfs'),
    line('8:16', '/', '/mnt/usb'),
    line('8:16', '/part', '/srv/part'),
  ].join('\n'),
);

describe('rootBeside()', () => {
  const cases: [roots: string[], store: string, found: string | undefined][] = [
    [['/'], '/mnt/usb/store', undefined],
    [['/'], '/srv/store', '/'],
    [['/home/anna'], '/srv/store', undefined],
    [['/home/anna'], '/home/store', '/home/anna'],
    [['/etc', '/home/anna'], '/home/store', '/home/anna'],
    [['/pool/a'], '/pool/b/store', '/pool/a'],
    [['/srv/part/x'], '/mnt/usb/store', '/srv/part/x'],
    [['/mnt/usb'], '/mnt/usb/store', '/mnt/usb'],
    [['/mnt/usbx'], '/mnt/usb/store', undefined],
    [['/mnt'], '/mnt/usb/store', undefined],
  ];
  for (const [roots, store, found] of cases)
    it(`is ${found} for ${roots.join()} and ${store}`, () =>
      assert.equal(rootBeside(TABLE, roots, store), found));
  it('is nothing where nothing is known of what is mounted', () =>
    assert.equal(rootBeside([], ['/'], '/srv/store'), undefined));
});

describe('diskInScope()', () => {
  type Scope = Parameters<typeof diskInScope>[1];
  const judge = (more: Partial<Scope>, store = '/mnt/usb/store'): string | undefined =>
    diskInScope(TABLE, { roots: ['/'], mounts: 'local', never: [], ...more }, store);
  it('is the disk where the rest of it is backed up onto it', () => {
    assert.equal(judge({}), '/mnt/usb');
    assert.equal(judge({ mounts: 'all' }), '/mnt/usb');
    assert.equal(judge({ roots: ['/etc', '/mnt'] }), '/mnt/usb');
  });
  it('is nothing where that is not so', () => {
    assert.equal(judge({ mounts: 'one' }), undefined);
    assert.equal(judge({ roots: ['/home'] }), undefined);
    assert.equal(judge({ never: ['/mnt/usb'] }), undefined);
    assert.equal(judge({ never: ['/mnt'] }), undefined);
    assert.equal(judge({}, '/mnt/usb'), undefined, 'the store is all that is on it');
  });
});

describe('whyAbsent()', () => {
  const top = mkdtempSync(join(tmpdir(), 'dialback-local-'));
  after(() => rmSync(top, { recursive: true }));
  const path = (name: string): string => join(top, name);
  it('is nothing for a store, also by a link', () => {
    mkdirSync(path('store'));
    writeFileSync(path('store/store.json'), '');
    symlinkSync(path('store'), path('link'));
    assert.deepEqual([whyAbsent(path('store')), whyAbsent(path('link'))], [undefined, undefined]);
  });
  it('tells a mount point from nothing at all', () => {
    mkdirSync(path('empty'));
    symlinkSync(path('nowhere'), path('dangling'));
    writeFileSync(path('file'), '');
    assert.equal(whyAbsent(path('empty')), `${wording('there-is-no-store-in')} "${path('empty')}"`);
    assert.equal(whyAbsent(path('file')), `${wording('there-is-no-store-in')} "${path('file')}"`);
    for (const name of ['none', 'none/deeper', 'dangling', 'file/below'])
      assert.equal(whyAbsent(path(name)), wording('is-not-there', path(name)));
  });
});

describe('adviceHere()', () => {
  it('never sends anybody to another machine', () => {
    for (const code of Object.keys(FAILURES) as FailureCode[]) {
      const { found, next } = adviceHere(
        code,
        { name: 'acorn' } as Parameters<typeof adviceHere>[1],
        { target: '/mnt/usb' } as Parameters<typeof adviceHere>[2],
      );
      const [, sentence, usual] = FAILURES[code];
      assert.doesNotMatch(next ?? usual ?? '', /administrator|host's log/, code);
      assert.ok((found ?? sentence).length > 0);
    }
  });
});
