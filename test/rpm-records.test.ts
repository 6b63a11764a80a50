import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  parseDnfOffers,
  parseRemoteSources,
  parseRpmPackages,
  parseZypperOffers,
} from '../src/client/rpm-records.ts';

/** The output of rpm 4.18.0, as bytes. */
const OUTPUT = `P 'empty' 0 '1.0' '1' 'noarch' 8
P 'gpg-pubkey' 0 '85f279d6' '6b0e0b78' (none) (none)
P 'tool' 2 '1.0' '1' 'noarch' 8
F '/etc/tool.conf' 33188 2 1796081681 17 0 'root' 'root' '' '3bb2abb69ebb27fbfe63c7639624c6ec5e331b841a5bc8c3ebc10b9285e90877' ''
F '/usr/bin/cap' 35309 4 1796081680 0 0 'root' 'root' 'cap_net_raw=ep' 'ab185873c38b37f4b8c1e3f924d6594ba01c22dbfe44e07a30fe39682631e6a1' ''
F '/usr/bin/link' 41471 4 1796081681 0 0 'root' 'root' '' '' 'tool'
F '/usr/share/odd dir' 16877 0 1796081681 0 0 'root' 'root' '' '' ''
F '/usr/share/odd dir/b\xff\xfe' 33188 1 1796081681 0 0 'root' 'root' '' '2e7d2c03a9507ae265ecf5b5356885a53393a2029d241394997265a1a25aefc6' ''
F '/usr/share/odd dir/quo'\\''te "x' 33188 1 1796081681 0 0 'root' 'utmp' '' '2e7d2c03a9507ae265ecf5b5356885a53393a2029d241394997265a1a25aefc6' ''
F '/var/log/tool.log' 32768 0 1796081681 64 0 'root' 'root' '' '' ''
`;

const line = (facts: { path?: string; state?: string; target?: string } = {}): string =>
  `F '${facts.path ?? '/x'}' 33188 2 5 0 ${facts.state ?? '0'} 'root' 'root' '' 'ab' '${facts.target ?? ''}'\n`;
const PACKAGE = "P 'a' 0 '1' '2' 'noarch' 8\n";

describe('parseRpmPackages()', () => {
  it('returns packages with their files, and no keys', () => {
    const packages = parseRpmPackages(OUTPUT) ?? [];
    assert.deepEqual(
      packages.map(({ name, version, identity, algorithm, architecture }) => ({
        name,
        version,
        identity,
        algorithm,
        architecture,
      })),
      [
        {
          name: 'empty',
          version: '1.0-1',
          identity: 'empty-0:1.0-1.noarch',
          algorithm: 'sha256',
          architecture: 'noarch',
        },
        {
          name: 'tool',
          version: '2:1.0-1',
          identity: 'tool-2:1.0-1.noarch',
          algorithm: 'sha256',
          architecture: 'noarch',
        },
      ],
    );
    const files = new Map(packages[1]?.files.map(each => [each.path, each]));
    assert.deepEqual([...files.keys()].slice(3), [
      '/usr/share/odd dir',
      '/usr/share/odd dir/b\xff\xfe',
      '/usr/share/odd dir/quo\'te "x',
      '/var/log/tool.log',
    ]);
    const cap = files.get('/usr/bin/cap');
    assert.deepEqual(
      [
        cap?.kind,
        cap?.mode,
        cap?.hasCapability,
        cap?.size,
        cap?.mtimeNs,
        cap?.isOwnedByRoot,
        cap?.digest.length,
      ],
      ['file', 0o4755, true, 4, 1796081680000000000n, true, 64],
    );
    const link = files.get('/usr/bin/link');
    assert.deepEqual([link?.kind, link?.target, link?.hasCapability], ['link', 'tool', false]);
    assert.equal(files.get('/usr/share/odd dir')?.kind, 'folder');
    assert.equal(files.get('/usr/share/odd dir/quo\'te "x')?.isOwnedByRoot, false);
    assert.deepEqual(
      [...files.values()].filter(each => each.isConfig).map(each => each.path),
      ['/etc/tool.conf'],
    );
    assert.deepEqual(
      [...files.values()].filter(each => !each.isWritten).map(each => each.path),
      ['/var/log/tool.log'],
    );
  });

  it('takes MD5 where a package names no algorithm, and none for an unknown number', () => {
    const algorithm = (number: string): unknown =>
      parseRpmPackages(`P 'a' 0 '1' '2' 'noarch' ${number}\n`)?.[0]?.algorithm;
    assert.deepEqual(['(none)', '1', '2', '10', '99'].map(algorithm), [
      'md5',
      'md5',
      'sha1',
      'sha512',
      undefined,
    ]);
  });

  it('knows files that the installation has left out', () => {
    for (const state of ['1', '2', '3', '4', '-1', '(none)'])
      assert.equal(parseRpmPackages(PACKAGE + line({ state }))?.[0]?.files[0]?.isWritten, false, state);
  });

  it('reads any name back, whatever it has in it', () => {
    const name = fc.string({
      unit: fc.constantFrom("'", '\\', '\n', ' ', 'F', 'P', '/', '\xff', '"'),
      minLength: 1,
    });
    fc.assert(
      fc.property(name, name, (path, target) => {
        const quoted = (text: string): string => text.replaceAll("'", "'\\''");
        const text = PACKAGE + line({ path: quoted(path), target: quoted(target) }) + line();
        const files = parseRpmPackages(text)?.[0]?.files;
        assert.deepEqual(
          files?.map(each => [each.path, each.target]),
          [
            [path, target],
            ['/x', ''],
          ],
        );
      }),
    );
  });

  const refused: [what: string, text: string][] = [
    ['a file before any package', line()],
    ['a line that is cut', PACKAGE + line().slice(0, -5)],
    ['another line between', `${PACKAGE}warning: something\n${line()}`],
    ['a name without a quote', PACKAGE + line().replace("'/x'", '/x')],
    ['a mode that is no number', PACKAGE + line().replace('33188', 'rw-r--r--')],
    ['a package without a version', "P 'a' 0\n"],
  ];
  for (const [what, text] of refused)
    it(`refuses ${what}`, () => assert.equal(parseRpmPackages(text), undefined));
});

describe('parseDnfOffers()', () => {
  it('returns the versions of sources on other machines, with empty lines between them or not', () => {
    const output =
      'empty-0:1.0-1.noarch web\n\ntool-2:1.0-1.noarch disc\nlib-1:2-3.x86_64 web\ntwo words web\n';
    assert.deepEqual(
      [...parseDnfOffers(output, new Set(['web']))],
      ['empty-0:1.0-1.noarch', 'lib-1:2-3.x86_64'],
    );
  });
});

describe('parseZypperOffers()', () => {
  /** The output of zypper 1.14.42. */
  const element = (facts: {
    status?: string;
    edition?: string;
    repository?: string;
    kind?: string;
  }): string => {
    const { status = 'installed', edition = '2:1.0-1', repository = 'Web &amp; &quot;repo&quot;' } = facts;
    const kind = facts.kind ?? 'package';
    return `<solvable status="${status}" name="tool" kind="${kind}" edition="${edition}" arch="noarch" repository="${repository}"/>`;
  };
  const parse = (xml: string): string[] => [
    ...parseZypperOffers(
      `<?xml version='1.0'?>\n<stream>\n<search-result version="0.0">\n<solvable-list>\n${xml}\n</solvable-list>\n</search-result>\n</stream>\n`,
      new Set(['Web & "repo"']),
    ),
  ];

  it('returns installed versions of sources on other machines', () => {
    assert.deepEqual(parse(element({})), ['tool-2:1.0-1.noarch']);
    assert.deepEqual(parse(element({ edition: '1.0-1' })), ['tool-0:1.0-1.noarch']);
  });

  it('returns no version that only the system has, that is not installed, or of another kind', () => {
    const others = [{ repository: '(System Packages)' }, { status: 'not-installed' }, { kind: 'srcpackage' }];
    for (const facts of others) assert.deepEqual(parse(element(facts)), [], JSON.stringify(facts));
  });
});

describe('parseRemoteSources()', () => {
  const cases: [what: string, text: string, found: string[]][] = [
    ['a URL', '[a]\nbaseurl=https://example.org/$releasever/\n', ['a']],
    ['its name too', '[a]\nname=A source\nbaseurl = http://example.org/\n', ['a', 'A source']],
    [
      'a list of mirrors',
      '[a]\nmetalink=https://example.org/?repo=a\n[b]\nmirrorlist=ftp://b/\n',
      ['a', 'b'],
    ],
    ['a second line', '[a]\nbaseurl=file:///mnt\n  https://example.org/\n', ['a']],
    ['two in a line', '[a]\nbaseurl=file:///mnt, https://example.org/\n', ['a']],
    ['a folder', '[a]\nbaseurl=file:///srv/repo\n', []],
    ['a disc', '[a]\nbaseurl=cd:///?devices=/dev/sr0\n', []],
    ['a relative folder', '[a]\nbaseurl=/srv/https://example.org\n', []],
    ['a comment', '[a]\n#baseurl=https://example.org/\nbaseurl=file:///x\n# https://example.org/\n', []],
    ['another key', '[a]\ngpgkey=https://example.org/key\n', []],
    [
      'another key after the URL',
      '[a]\nbaseurl=file:///x\ngpgkey=file:///key\n  https://example.org/key\n',
      [],
    ],
    ['no section', 'baseurl=https://example.org/\n', []],
    ['the section before', '[a]\nbaseurl=https://example.org/\n[b]\nenabled=1\n', ['a']],
    ['line ends of Windows', '[a]\r\nbaseurl=https://example.org/\r\n', ['a']],
    ['nothing', '', []],
  ];
  for (const [what, text, found] of cases)
    it(`reads ${what}`, () => assert.deepEqual(parseRemoteSources(text), found));
});
