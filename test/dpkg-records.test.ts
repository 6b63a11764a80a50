import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  packageLabel,
  parseChecksums,
  parseDiversions,
  parseFileList,
  parseOverrides,
  parsePackages,
  parsePolicy,
} from '../src/client/dpkg-records.ts';

describe('parsePackages()', () => {
  const output = [
    'installed\tbash\tamd64\t5.2-1\tforeign',
    ' /etc/bash.bashrc 89269e1298235f1b12b4c16e4065ad0d',
    ' /etc/a file 22bfb8c1dd94b5f3813a2b25da67463f obsolete',
    'installed\tlibc6\tamd64\t2.36-9\tsame',
    '',
    'triggers-pending\tman-db\tamd64\t2.11\tforeign',
    '',
    'config-files\tgone\tamd64\t1\t',
    ' /etc/gone.conf 22bfb8c1dd94b5f3813a2b25da67463f',
    'half-configured\tbroken\tamd64\t1\t',
    ' /etc/broken.conf 22bfb8c1dd94b5f3813a2b25da67463f',
    '',
  ].join('\n');

  it('returns installed packages with their conffiles, also obsolete ones, and counts broken packages', () => {
    const { installed, broken } = parsePackages(output);
    assert.deepEqual(
      installed.map(each => [each.base, each.version, each.conffiles]),
      [
        ['bash', '5.2-1', ['/etc/bash.bashrc', '/etc/a file']],
        ['libc6:amd64', '2.36-9', []],
        ['man-db', '2.11', []],
      ],
    );
    assert.equal(broken, 1);
  });

  it('never fails, whatever the text', () => {
    fc.assert(fc.property(fc.string(), text => Array.isArray(parsePackages(text).installed)));
  });
});

describe('the files of the database', () => {
  it('parseFileList() returns the paths without the root', () => {
    assert.deepEqual(parseFileList('/.\n/usr\n/usr/bin/a b\n\nrelative\n'), ['/usr', '/usr/bin/a b']);
  });

  it('parseChecksums() takes only lines of its form', () => {
    const sum = '89269e1298235f1b12b4c16e4065ad0d';
    const text = `${sum}  usr/bin/x\n${sum} usr/one-blank\n${sum.toUpperCase()}  usr/capitals\nshort  usr/short\n${sum}  \n`;
    assert.deepEqual([...parseChecksums(text)], [['/usr/bin/x', sum]]);
  });

  it('parseDiversions() returns both paths, and not the package', () => {
    const text = '/usr/bin/x\n/usr/bin/x.real\ndash\n/usr/bin/y\n/usr/bin/y.local\n:\n';
    assert.deepEqual(parseDiversions(text), [
      '/usr/bin/x',
      '/usr/bin/x.real',
      '/usr/bin/y',
      '/usr/bin/y.local',
    ]);
    assert.deepEqual(parseDiversions(''), []);
  });

  it('parseOverrides() returns the paths', () => {
    assert.deepEqual(parseOverrides('root crontab 2755 /usr/bin/crontab\nroot root 4755 /opt/a b\nroot\n'), [
      '/usr/bin/crontab',
      '/opt/a b',
    ]);
  });
});

describe('parsePolicy()', () => {
  const table = (name: string, ...lines: string[]): string =>
    [`${name}:`, '  Installed: 1', '  Candidate: 1', '  Version table:', ...lines, ''].join('\n');
  const status = '        100 /var/lib/dpkg/status';
  const http = '        500 http://deb.example.org/debian bookworm/main amd64 Packages';

  it('returns a package whose installed version a source offers', () => {
    assert.deepEqual([...parsePolicy(table('bash', ' *** 1 500', http, status))], ['bash']);
    assert.deepEqual(
      [...parsePolicy(table('libc6:i386', ' *** 1 -1', http.replace('500', '-1'), status))],
      ['libc6:i386'],
    );
  });

  const refused: [what: string, lines: string[]][] = [
    ['only another version is offered', ['     2 500', http, ' *** 1 100', status]],
    ['only an older version is offered', [' *** 2 100', status, '     1 500', http]],
    ['no source has it', [' *** 1 100', status]],
    ['the source is a local folder', [' *** 1 500', '        500 file:/srv/debs ./ Packages', status]],
    ['the source is a copied folder', [' *** 1 500', '        500 copy:/srv/debs ./ Packages', status]],
    [
      'the source is a disc',
      [' *** 1 500', '        500 cdrom://[Debian 12] bookworm/main amd64 Packages', status],
    ],
  ];
  for (const [what, lines] of refused)
    it(`leaves a package out where ${what}`, () => assert.equal(parsePolicy(table('a', ...lines)).size, 0));

  it('does not mix up two packages', () => {
    assert.deepEqual(
      [...parsePolicy(table('a', ' *** 1 100', status) + table('b', ' *** 1 500', http))],
      ['b'],
    );
  });
});

describe('packageLabel()', () => {
  it('has the architecture only if it is a foreign one', () => {
    assert.equal(packageLabel({ name: 'a', architecture: 'amd64' }, 'amd64'), 'a');
    assert.equal(packageLabel({ name: 'a', architecture: 'all' }, 'amd64'), 'a');
    assert.equal(packageLabel({ name: 'a', architecture: 'i386' }, 'amd64'), 'a:i386');
  });
});
