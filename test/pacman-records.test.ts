import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  parseBackupFiles,
  parseMtree,
  parsePacmanNames,
  parsePacmanOffers,
  parsePacmanSections,
} from '../src/client/pacman-records.ts';

/** What makepkg 6.0.2 writes, shortened. */
const MTREE = `#mtree
/set type=file uid=0 gid=0 mode=644
./.BUILDINFO time=1796081844.0 size=536 sha256digest=b9035baa95e5983409c2ac971669551cf9d89091a7216bfac119e1b80e298325
./.PKGINFO time=1796081844.0 size=219 sha256digest=36688536c4da5f61b04ac34d226b70eff04209085266edbe8ba1c0de62afbb02
./etc time=1796081844.0 mode=755 type=dir
./etc/tool.conf time=1796081844.0 size=2 md5digest=401b30e3b8b5d629635a5c613cdb7919 sha256digest=73cb3858a687a8494ca3323053016282f3dad39d42cf62ca4e79dda2aac7d9ac
/set mode=755
./usr time=1796081844.0 type=dir
./usr/bin time=1796081844.0 type=dir
/set mode=644
./usr/bin/cap time=1796081844.5 mode=4755 size=4 sha256digest=ab185873c38b37f4b8c1e3f924d6594ba01c22dbfe44e07a30fe39682631e6a1
./usr/bin/link time=1796081844.0 mode=777 type=link link=some\\040where
./usr/share/odd\\040dir/b\\377 time=1796081844.0 size=1 sha256digest=2e7d2c03a9507ae265ecf5b5356885a53393a2029d241394997265a1a25aefc6
./usr/share/odd\\040dir/hash\\043\\040back\\134slash\\075x time=1796081844.0 uid=12 size=1 sha256digest=2e7d2c03a9507ae265ecf5b5356885a53393a2029d241394997265a1a25aefc6
./.hidden time=1796081844.0 size=1 sha256digest=2e7d2c03a9507ae265ecf5b5356885a53393a2029d241394997265a1a25aefc6
`;

describe('parseMtree()', () => {
  const files = new Map(parseMtree(MTREE).map(each => [each.path, each]));

  it('returns the paths of the package as they are, without those of pacman itself', () => {
    assert.deepEqual(
      [...files.keys()],
      [
        '/etc',
        '/etc/tool.conf',
        '/usr',
        '/usr/bin',
        '/usr/bin/cap',
        '/usr/bin/link',
        '/usr/share/odd dir/b\xff',
        '/usr/share/odd dir/hash# back\\slash=x',
        '/.hidden',
      ],
    );
  });

  it('applies the defaults of the lines above, and the own facts of a file before them', () => {
    const facts = (path: string): unknown[] => {
      const { kind, mode, mtimeNs, size, isOwnedByRoot } = files.get(path) ?? assert.fail(path);
      return [kind, mode, mtimeNs, size, isOwnedByRoot];
    };
    assert.deepEqual(facts('/etc/tool.conf'), ['file', 0o644, 1796081844000000000n, 2, true]);
    assert.deepEqual(facts('/usr/bin'), ['folder', 0o755, 1796081844000000000n, 0, true]);
    // libarchive prints nanoseconds as a number of its own.
    assert.deepEqual(facts('/usr/bin/cap'), ['file', 0o4755, 1796081844000000005n, 4, true]);
    assert.equal(files.get('/usr/share/odd dir/hash# back\\slash=x')?.isOwnedByRoot, false);
    assert.equal(files.get('/usr/bin/link')?.target, 'some where');
    assert.match(files.get('/usr/bin/cap')?.sha256 ?? '', /^ab18/);
    assert.equal(files.get('/usr/bin/link')?.sha256, undefined);
  });

  const WHOLE = './x type=file time=1.0 size=1 mode=644 uid=0 gid=0';
  const unknown: [what: string, line: string][] = [
    ['without a time', WHOLE.replace(' time=1.0', '')],
    ['without a size', WHOLE.replace(' size=1', '')],
    ['without a mode', WHOLE.replace(' mode=644', '')],
    ['without a type', WHOLE.replace(' type=file', '')],
    ['of another type', WHOLE.replace('type=file', 'type=block')],
    ['with a mode in letters', WHOLE.replace('mode=644', 'mode=u+x')],
    ['with a negative time', WHOLE.replace('time=1.0', 'time=-1.0')],
  ];
  it('knows a file with all facts', () => assert.equal(parseMtree(WHOLE)[0]?.kind, 'file'));
  for (const [what, text] of unknown)
    it(`knows nothing of a file ${what}`, () => assert.equal(parseMtree(text)[0]?.kind, 'other'));

  it('gives no file to root that names no owner', () => {
    assert.equal(parseMtree(WHOLE.replace(' gid=0', ''))[0]?.isOwnedByRoot, false);
    assert.equal(
      parseMtree(`/set gid=0\n/unset gid\n${WHOLE.replace(' gid=0', '')}`)[0]?.isOwnedByRoot,
      false,
    );
  });
});

describe('parsePacmanSections() and parseBackupFiles()', () => {
  it('return files and configuration files', () => {
    const sections = parsePacmanSections(
      '%FILES%\netc/\netc/tool.conf\nusr/share/odd dir/b\xff\n\n%BACKUP%\netc/tool.conf\t401b30e3b8b5d629635a5c613cdb7919\n\n',
    );
    assert.deepEqual(sections.get('FILES'), ['etc/', 'etc/tool.conf', 'usr/share/odd dir/b\xff']);
    assert.deepEqual(parseBackupFiles(sections.get('BACKUP') ?? []), ['/etc/tool.conf']);
    assert.deepEqual(parseBackupFiles(['', 'no digest']), []);
  });
});

describe('parsePacmanNames()', () => {
  it('returns names and versions, and passes over other lines', () => {
    assert.deepEqual(parsePacmanNames('tool 2:1.0-1\nwarning: one two three\n\n'), [
      { name: 'tool', version: '2:1.0-1' },
    ]);
  });
});

describe('parsePacmanOffers()', () => {
  it('returns the installed versions of sources on other machines', () => {
    const output = [
      'web tool 2:1.0-1 [installed]',
      'web other 1-1',
      'web older 2-1 [installed: 1-1]',
      'disc local 1-1 [installed]',
      '',
    ].join('\n');
    assert.deepEqual([...parsePacmanOffers(output, new Set(['web']))], ['tool=2:1.0-1']);
  });
});
