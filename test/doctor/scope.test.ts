import assert from 'node:assert/strict';
import { linkSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { parseNeverList } from '../../src/client/never-list.ts';
import type { Finding, State } from '../../src/doctor/finding.ts';
import { findOutsideLinks } from '../../src/doctor/hard-links.ts';
import type { Confinement } from '../../src/doctor/jails.ts';
import { checkNever } from '../../src/doctor/never.ts';
import { checkRoots } from '../../src/doctor/scope.ts';
import { check, states } from '../support/findings.ts';
import { scratch } from '../support/scratch.ts';
import { matching, says } from '../support/wording.ts';

const confined: Confinement = { way: 'confined', isChosen: false };
const inherited: Confinement = { way: 'inherited', isChosen: true };
const none: Confinement = { way: 'none', isChosen: false };

describe('checkRoots()', () => {
  type RootFacts = Parameters<typeof checkRoots>[0][number];
  const root = (is: RootFacts['is'], path = `/${is}`): RootFacts => ({ path, is });
  const cases: [RootFacts[], Confinement, State[]][] = [
    [[root('readable')], none, ['ok']],
    [[root('closed')], confined, ['ok']],
    [[root('hidden')], inherited, ['ok']],
    [[root('missing')], confined, ['critical']],
    [[root('missing'), root('closed')], confined, ['warning']],
    [[root('missing'), root('readable')], none, ['warning']],
    [[root('closed')], none, ['critical']],
    [[root('closed'), root('readable')], none, ['warning']],
    [[root('missing'), root('hidden')], none, ['critical', 'critical']],
    [[root('missing'), root('hidden'), root('readable')], none, ['warning', 'warning']],
  ];
  for (const [roots, way, expected] of cases)
    it(`is ${expected.join(', ')} when the roots are ${roots.map(each => each.is).join(', ')} (${way.way})`, () =>
      assert.deepEqual(states(checkRoots(roots, way)), expected));
});

describe('parseNeverList()', () => {
  it('takes absolute paths, comments and empty lines', () => {
    const text = '# a comment\n\n/etc/ssl/private\n/home/a b/ü\n/srv/x/\n/\n';
    assert.deepEqual(parseNeverList(text), {
      paths: ['/etc/ssl/private', '/home/a b/ü', '/srv/x', '/'],
      faults: [],
    });
    assert.deepEqual(parseNeverList(''), { paths: [], faults: [] });
  });
  const cases: [string, RegExp][] = [
    ['etc/x', matching`^line 1: ${says('it-does-not-begin-with')}`],
    ['/ok\n ./x', matching`^line 2: ${says('it-does-not-begin-with')}`],
    [' /etc/x', says('does-not-begin-with')],
    ['/etc/x ', says('ends-with-a-blank')],
    ['/etc/x\r\n', /control character/],
    ['/etc/\tx', /control character/],
    ['/etc/\0x', /control character/],
    [`/${'x'.repeat(4096)}`, /too long/],
    // On these the launcher refuses to run.
    ['/etc/../x', matching`^line 1: ${says('it-has-or-a-repeated')}`],
    ['/etc/./x', /repeated slash/],
    ['/etc//x', /repeated slash/],
    ['  # indented', says('does-not-begin-with')],
  ];
  for (const [text, fault] of cases)
    it(`refuses ${JSON.stringify(text.slice(0, 20))}`, () => {
      const { faults } = parseNeverList(text);
      assert.equal(faults.length, 1);
      assert.match(faults[0] ?? '', fault);
    });
});

describe('findOutsideLinks()', () => {
  it('finds a file with a name elsewhere, and not one whose names are all below', t => {
    const top = scratch(t);
    mkdirSync(join(top, 'never/deep'), { recursive: true });
    for (const name of ['alone', 'twice', 'linked']) writeFileSync(join(top, 'never', name), '');
    linkSync(join(top, 'never/twice'), join(top, 'never/deep/twin'));
    linkSync(join(top, 'never/linked'), join(top, 'outside'));
    symlinkSync('..', join(top, 'never/deep/up'));
    const expected = { linked: [join(top, 'never/linked')], linkedCount: 1, isSeen: true };
    assert.deepEqual(findOutsideLinks(join(top, 'never'), 100), expected);
    assert.deepEqual(findOutsideLinks(join(top, 'never/linked'), 100), expected);
    assert.equal(findOutsideLinks(join(top, 'never/deep/twin'), 100).linkedCount, 1);
    assert.equal(findOutsideLinks(join(top, 'never/alone'), 100).linkedCount, 0);
  });
  it('says when it has not seen all; what is not there has no other name', t => {
    const top = scratch(t);
    for (let index = 0; index < 10; index += 1) writeFileSync(join(top, `${index}`), '');
    assert.equal(findOutsideLinks(top, 11).isSeen, true);
    assert.equal(findOutsideLinks(top, 10).isSeen, false);
    assert.deepEqual(findOutsideLinks(join(top, 'nowhere'), 10), {
      linked: [],
      linkedCount: 0,
      isSeen: true,
    });
  });
});

describe('checkNever()', () => {
  const good = { path: '/n', otherNames: [], linked: [], linkedCount: 0, isSeen: true };
  it('is content where there is no other name', () => {
    assert.deepEqual(states(checkNever([good, good])), ['ok']);
    assert.deepEqual(states(checkNever([])), ['ok']);
  });
  it('warns of each other name, and does not know what it could not see', () => {
    const [linked] = checkNever([{ ...good, linked: ["/n/a'b"], linkedCount: 3 }]);
    check(linked as Finding, 'warning', /and 2 more, has another name/, /-samefile '\/n\/a'\\''b'/);
    const [bound] = checkNever([{ ...good, otherNames: ['/mnt/x'] }]);
    check(bound as Finding, 'warning', /also mounted at "\/mnt\/x"/, /umount '\/mnt\/x'/);
    const [unseen] = checkNever([{ ...good, isSeen: false }]);
    check(unseen as Finding, 'unknown', undefined, /^find '\/n' -xdev -type f -links \+1/);
    const all = checkNever([
      good,
      { ...good, otherNames: ['/m'], linked: ['/n/x'], linkedCount: 1, isSeen: false },
    ]);
    assert.deepEqual(states(all), ['warning', 'warning', 'unknown']);
  });
});
