import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  type Entry,
  findPlace,
  type Look,
  mergePlaces,
  type Place,
  parsePlaces,
  placeInText,
  placeWarnings,
} from '../src/client/never.ts';

const ROOT = 0;
const ACCOUNT = 900;
const ALICE = 1001;
const FOLDER = 0o040000;
const FILE = 0o100000;
const LINK = 0o120777;

const folder = (uid = ROOT, mode = 0o755): Entry => ({ uid, mode: FOLDER | mode, nlink: 2 });
const file = (uid = ROOT, nlink = 1): Entry => ({ uid, mode: FILE | 0o644, nlink });
const link = (target: string, uid = ROOT, nlink = 1): Entry => ({ uid, mode: LINK, nlink, target });

/** A file system out of a table; every folder above a name is root's unless it has a row. */
function lookIn(table: Record<string, Entry | string>): Look {
  return path => {
    const known = table[path];
    if (known !== undefined) return known;
    return path === '/' || Object.keys(table).some(each => each.startsWith(`${path}/`)) ? folder() : 'ENOENT';
  };
}

/** Whether findPlace() takes an entry of the folder "/" as one that only the owners can replace. */
function isFirm(above: Entry, entry: Entry, owners: readonly number[]): boolean {
  return findPlace('/x', owners, path => (path === '/x' ? entry : above)).through === undefined;
}

describe('findPlace() and an entry that others can replace', () => {
  const STICKY = 0o1777;
  const cases: [what: string, folder: Entry, entry: Entry, firm: boolean][] = [
    ["a folder of root's", folder(), file(ALICE), true],
    ["a folder of root's, closed", folder(ROOT, 0o700), link('/', ALICE), true],
    ["another user's", folder(ALICE), file(), false],
    ["another user's, that nobody may write", folder(ALICE, 0o555), file(), false],
    ["another user's, sticky", folder(ALICE, STICKY), file(), false],
    ['one that a group can write', folder(ROOT, 0o775), file(), false],
    ['one that all can write', folder(ROOT, 0o777), folder(), false],
    ["a file of root's in a sticky folder", folder(ROOT, STICKY), file(), true],
    ["a folder of root's in a sticky folder", folder(ROOT, STICKY), folder(), true],
    ["a user's file in a sticky folder", folder(ROOT, STICKY), file(ALICE), false],
    ["a hard link to a file of root's in a sticky folder", folder(ROOT, STICKY), file(ROOT, 2), false],
    ["a hard link to a link of root's in a sticky folder", folder(ROOT, STICKY), link('/', ROOT, 2), false],
    ["the account's folder", folder(ACCOUNT), file(), false],
  ];
  for (const [what, of, entry, firm] of cases)
    it(`is ${firm} for ${what}`, () => assert.equal(isFirm(of, entry, [ROOT]), firm));

  it("is true for the account's folder in the account's own list", () => {
    assert.equal(isFirm(folder(ACCOUNT), file(), [ROOT, ACCOUNT]), true);
    assert.equal(isFirm(folder(ACCOUNT, 0o770), file(), [ROOT, ACCOUNT]), false);
  });
});

describe('findPlace()', () => {
  type Found = Omit<Place, 'name'>;
  const table: Record<string, Entry | string> = {
    '/etc/link': link('/srv/real'),
    '/etc/beside': link('../srv/./real'),
    '/etc/gone': link('missing/../x'),
    '/etc/loop': link('loop'),
    '/etc/top': link('/'),
    '/etc/to alice': link('/home/alice/bob'),
    "/etc/alice's": link('/home/bob', ALICE),
    '/etc/dangling': link('/srv/missing'),
    '/srv/real/file': file(ROOT, 2),
    '/srv/damaged': 'EUCLEAN',
    '/tmp': folder(ROOT, 0o1777),
    '/home/alice': folder(ALICE, 0o700),
    '/home/alice/bob': link('/home/bob', ALICE),
    "/home/alice/root's": link('/home/bob'),
    '/home/alice/closed': folder(ROOT, 0o700),
    '/home/alice/closed/link': link('/home/bob'),
    '/home/alice/file': file(ALICE),
    '/home/alice/hard': file(ALICE, 2),
    '/home/alice/damaged': 'EUCLEAN',
    '/home/bob/file': file(1002),
    '/var/account': folder(ACCOUNT, 0o700),
    '/var/account/link': link('real', ACCOUNT),
    '/var/account/real': folder(ACCOUNT),
  };
  const through = '/home/alice';
  const cases: [name: string, found: Found][] = [
    ['/', { place: '/' }],
    ['/srv/real/file', { place: '/srv/real/file' }],
    ['/srv/missing/more', { place: '/srv/missing/more' }],
    ['/etc/link', { place: '/srv/real' }],
    ['/etc/link/file', { place: '/srv/real/file' }],
    ['/etc/beside/file', { place: '/srv/real/file' }],
    ['/etc/top/etc/link', { place: '/srv/real' }],
    ['/etc/top', { place: '/' }],
    ['/etc/dangling', { place: '/srv/missing' }],
    ['/etc/gone/more', { place: '/etc/x/more' }],
    ['/etc/loop/more', { place: '/etc/loop/more', link: '/etc/loop' }],
    ["/etc/alice's", { place: "/etc/alice's", link: "/etc/alice's" }],
    ['/etc/to alice/x', { place: '/home/alice/bob/x', through, link: '/home/alice/bob' }],
    ['/srv/damaged/x', { place: '/srv/damaged/x', error: 'EUCLEAN' }],
    ['/home/alice', { place: '/home/alice' }],
    ['/home/alice/file', { place: '/home/alice/file', through }],
    ['/home/alice/missing', { place: '/home/alice/missing', through }],
    ['/home/alice/missing/x', { place: '/home/alice/missing/x', through }],
    ['/tmp/missing', { place: '/tmp/missing', through: '/tmp' }],
    ['/home/alice/hard', { place: '/home/alice/hard', through, shared: '/home/alice/hard' }],
    ['/home/alice/damaged', { place: '/home/alice/damaged', through, error: 'EUCLEAN' }],
    ['/home/alice/bob', { place: '/home/alice/bob', through, link: '/home/alice/bob' }],
    ['/home/alice/bob/file', { place: '/home/alice/bob/file', through, link: '/home/alice/bob' }],
    ["/home/alice/root's", { place: "/home/alice/root's", through, link: "/home/alice/root's" }],
    [
      '/home/alice/closed/link',
      { place: '/home/alice/closed/link', through, link: '/home/alice/closed/link' },
    ],
    ['/var/account/link', { place: '/var/account/link', through: '/var/account', link: '/var/account/link' }],
  ];
  for (const [name, found] of cases)
    it(`finds ${name}`, () => assert.deepEqual(findPlace(name, [ROOT], lookIn(table)), { name, ...found }));

  it("follows the account's own link for the account's own list", () => {
    const name = '/var/account/link';
    assert.deepEqual(findPlace(name, [ROOT, ACCOUNT], lookIn(table)), { name, place: '/var/account/real' });
  });

  it('never follows a link at or below a folder of another user, whatever it is and wherever it leads', () => {
    const names = fc.constantFrom('a', 'b', 'c');
    const path = fc.array(names, { minLength: 1, maxLength: 4 }).map(parts => `/${parts.join('/')}`);
    const target = fc.oneof(path, fc.constantFrom('/', '..', '.', 'a', '../b', '/home/bob', ''));
    const entry = fc.oneof(
      target.map(to => link(to)),
      target.map(to => link(to, ALICE)),
      fc.constant(folder()),
      fc.constant(file(ALICE, 2)),
      fc.constantFrom('EACCES', 'EIO', 'ELOOP', 'ENAMETOOLONG', 'ESTALE', 'ENOTCONN', 'ENOENT'),
    );
    fc.assert(
      fc.property(fc.dictionary(path, entry), path, (entries, name) => {
        const below = Object.entries(entries).map(([key, value]) => [`/home/alice${key}`, value]);
        const look = lookIn({ '/home/alice': folder(ALICE), ...Object.fromEntries(below) });
        const full = `/home/alice${name}`;
        assert.equal(findPlace(full, [ROOT], look).place, full);
      }),
    );
  });

  it('ends, and is a path from "/" on, whatever links there are', () => {
    const names = fc.constantFrom('a', 'b', 'c', '..', '.');
    const target = fc.tuple(fc.constantFrom('', '/'), fc.array(names, { maxLength: 5 }));
    const plain = fc.array(fc.constantFrom('a', 'b', 'c'), { minLength: 1, maxLength: 4 });
    const links = fc.dictionary(
      plain.map(parts => `/${parts.join('/')}`),
      target.map(([start, parts]) => link(start + parts.join('/'))),
    );
    fc.assert(
      fc.property(links, plain, (entries, parts) => {
        const { place } = findPlace(`/${parts.join('/')}`, [ROOT], path => entries[path] ?? folder());
        assert.match(place, /^\/(?:[abc](?:\/[abc])*)?$/);
      }),
    );
  });
});

describe('parsePlaces()', () => {
  it('reads facts, each name beginning with its place', () => {
    const text = ['place', '/a', '/b', 'place', '/c', '/c', 'through', '/c', '/', 'link', '/c', '/c'];
    assert.deepEqual(parsePlaces(text.map(each => `${each}\0`).join(''))?.places, [
      { name: '/a', place: '/b' },
      { name: '/c', place: '/c', through: '/', link: '/c' },
    ]);
    assert.deepEqual(parsePlaces(''), { places: [], refusing: [] });
  });
  it('reads which folders have files that nobody can read', () => {
    const text = [
      'place',
      '/a/b',
      '/a/b',
      'refuses',
      '/a',
      '/a/x',
      'refuses',
      '/a',
      '/a/y',
      'refuses',
      '/',
      '/z',
    ];
    assert.deepEqual(parsePlaces(text.map(each => `${each}\0`).join(''))?.refusing, ['/a', '/']);
  });
  for (const text of [
    'x',
    '\0',
    'place\0/a\0',
    'place\0/a\0/a',
    'link\0/a\0/a\0',
    'place\0/a\0/a\0link\0/b\0/b\0',
    'place\0/a\0/a\0name\0/a\0/b\0',
    'place\0/a\0/a\0\0',
  ])
    it(`refuses ${JSON.stringify(text)}`, () => assert.equal(parsePlaces(text), undefined));
});

describe('mergePlaces()', () => {
  it('prefers what the launcher says of a name, and keeps the rest', () => {
    const seen = [
      { name: '/a', place: '/a' },
      { name: '/b', place: '/b' },
    ];
    const told = [
      { name: '/a', place: '/x' },
      { name: '/a', place: '/a', link: '/a' },
    ];
    assert.deepEqual(mergePlaces(seen, told, ['/a', '/b']), [seen[1], ...told]);
  });
  it('leaves out what is in no list: mount points and the like', () => {
    const seen = [{ name: '/a', place: '/a' }];
    const told = [
      { name: '/a', place: '/a' },
      { name: '/mnt/fuse', place: '/mnt/fuse', error: 'Permission denied' },
      { name: "/in root's list", place: "/in root's list", error: 'Permission denied' },
    ];
    assert.deepEqual(mergePlaces(seen, told, ['/a', '/mnt/fuse']), [told[0], told[2]]);
  });
});

describe('placeWarnings()', () => {
  it('warns of what was not followed or not seen, once for each', () => {
    const places: Place[] = [
      { name: '/plain', place: '/plain', through: '/' },
      { name: '/l/x', place: '/l/x', link: '/l' },
      { name: '/l/x', place: '/l/x', link: '/l' },
      { name: '/e\n', place: '/e\n', error: 'EIO' },
      { name: '/h', place: '/h', shared: '/h' },
    ];
    const found = placeWarnings(places).map(({ path, link: at }) => [path, at]);
    assert.deepEqual(found, [
      ['/l/x', '/l'],
      ['/e\n', undefined],
      ['/h', undefined],
    ]);
    for (const { message } of placeWarnings(places)) assert.doesNotMatch(message, /\n/);
  });
  it('shows names as text', () => {
    const bytes = Buffer.from('/ä', 'utf8').toString('latin1');
    assert.equal(placeInText({ name: bytes, place: bytes }).name, '/ä');
  });
});
