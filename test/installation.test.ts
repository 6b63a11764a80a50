import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { inheritStep, installStep } from '../src/os/install-steps.ts';
import { findInstallation, type Installation } from '../src/os/installation.ts';
import { ANY_CHARACTER } from './support/any-character.ts';
import { matching, says } from './support/wording.ts';

const PATH = '/usr/bin/dialback';

/** @param outputs by program and first argument; a program that is absent fails */
function find(outputs: Record<string, string>, path = PATH): Installation {
  return findInstallation(path, (program, args) => outputs[`${program} ${args[0]}`]);
}

describe('findInstallation()', () => {
  const dpkg = {
    'dpkg-query --search': `dialback: ${PATH}\n`,
    'dpkg-query --show': '0.1.0-1 amd64\n',
  };
  const found = { by: 'dpkg', name: 'dialback', version: '0.1.0-1', architecture: 'amd64' };
  it('asks no package manager about an executable that is not in /usr/bin', () => {
    for (const path of ['/usr/local/bin/dialback', '/home/anna/dist/dialback', '/opt/usr/bin/dialback'])
      assert.deepEqual(
        findInstallation(path, () => assert.fail('it asked')),
        { by: 'make' },
      );
  });
  it('finds a package of dpkg, and whether apt has a source for it', () => {
    assert.deepEqual(find(dpkg), { ...found, isOffered: false });
    assert.deepEqual(find({ ...dpkg, 'apt-cache madison': '' }), { ...found, isOffered: false });
    const line = 'dialback | 0.1.0-1 | http://deb.example stable/main amd64 Packages\n';
    assert.deepEqual(find({ ...dpkg, 'apt-cache madison': line }), { ...found, isOffered: true });
  });
  it('reads past diversions, and the architecture behind a name', () => {
    const lines = `diversion by other from: ${PATH}\ndiversion by other to: ${PATH}.real\ndialback:amd64: ${PATH}\n`;
    assert.deepEqual(find({ ...dpkg, 'dpkg-query --search': lines }), { ...found, isOffered: false });
  });
  it('finds a package of rpm', () => {
    assert.deepEqual(find({ 'rpm --query': 'dialback dialback-0.1.0-1.x86_64.rpm\n' }), {
      by: 'rpm',
      name: 'dialback',
      file: 'dialback-0.1.0-1.x86_64.rpm',
    });
  });
  it('says make where no package manager has it, and for every other output', () => {
    assert.deepEqual(find({}), { by: 'make' });
    assert.deepEqual(find({ 'rpm --query': `file ${PATH} is not owned by any package\n` }), { by: 'make' });
    const any = fc.string({ unit: ANY_CHARACTER });
    fc.assert(
      fc.property(any, any, any, (search, show, query) => {
        const installation = find({
          'dpkg-query --search': search,
          'dpkg-query --show': show,
          'rpm --query': query,
        });
        const step = installStep(false, installation);
        assert.doesNotMatch(step, /\p{Cc}/u);
      }),
    );
  });
});

describe('installStep() and inheritStep()', () => {
  const file = { by: 'dpkg', name: 'dialback', version: '1:0.1.0-1', architecture: 'arm64' } as const;
  it('name the package manager that has installed it', () => {
    const steps: [Installation, RegExp, RegExp][] = [
      [{ by: 'make' }, /^make install, /, matching`^${says('make-install-inherited-1-as')}`],
      [
        { ...file, isOffered: true },
        /^apt-get install --reinstall dialback, /,
        /^apt-get remove dialback && /,
      ],
      [
        { ...file, isOffered: false },
        /^apt-get install --reinstall \.\/dialback_0\.1\.0-1_arm64\.deb, /,
        /^apt-get remove dialback && /,
      ],
      [
        { by: 'rpm', name: 'dialback', file: 'dialback-0.1.0-1.x86_64.rpm' },
        /^rpm --reinstall \.\/dialback-0\.1\.0-1\.x86_64\.rpm, /,
        /^rpm --erase dialback && /,
      ],
    ];
    for (const [installation, install, inherit] of steps) {
      assert.match(installStep(false, installation), install);
      assert.match(inheritStep(installation), inherit);
    }
  });
  it('let apt put back a file in /etc that is missing', () => {
    assert.match(
      installStep(true, { ...file, isOffered: true }),
      /^apt-get install --reinstall -o Dpkg::Options::=--force-confmiss dialback, /,
    );
    assert.equal(installStep(true, { by: 'make' }), installStep(false, { by: 'make' }));
  });
});
