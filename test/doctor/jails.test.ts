import { describe, it } from 'node:test';
import {
  type Confinement,
  checkClientConfinement,
  checkClientJail,
  checkHostConfinement,
  checkHostJail,
  checkSender,
} from '../../src/doctor/jails.ts';
import { Fault } from '../../src/fault.ts';
import type { Jail } from '../../src/os/launcher.ts';
import { check } from '../support/findings.ts';
import { matching, says, wording } from '../support/wording.ts';

const confined: Confinement = { way: 'confined', isChosen: false };
const inherited: Confinement = { way: 'inherited', isChosen: true };
const none: Confinement = { way: 'none', isChosen: false };
const chosenNone: Confinement = { way: 'none', isChosen: true };

describe('checkClientJail() and checkHostJail()', () => {
  const fault = (found: string, next?: string): Fault =>
    new Fault({ tried: 'confine rsync', found, ...(next ? { next } : {}) });
  it("tells the ABI, or the launcher's own line and what to do", () => {
    const jail: Jail = { landlockAbi: 7, hasOwnRoot: true };
    check(checkClientJail({ ...jail, hasOwnRoot: false }), 'ok', /Landlock ABI 7/);
    check(checkHostJail(jail), 'ok', /Landlock ABI 7/);
    check(
      checkHostJail({ ...jail, hasOwnRoot: false }),
      'warning',
      says('without-a-root-file-system'),
      /^sysctl/,
    );
    check(checkClientJail(fault('x: EPERM', 'dialback doctor')), 'critical', /x: EPERM$/, /make install/);
    check(checkHostJail(fault('x', 'dialback doctor')), 'critical', /x$/, /make install/);
    const other = fault(`Cannot run "/l": ${wording('it-was-made-for-uid-and', 990)} 5`, 'dialback doctor');
    check(
      checkClientJail(other),
      'critical',
      /made for uid 990/,
      /^runuser --pty -u "\$\(id -nu 990\)" -- dialback doctor/,
    );
    check(
      checkClientJail(fault('it is not there', 'apt-get install rsync')),
      'critical',
      undefined,
      /^apt-get/,
    );
  });
});

describe('client: checkClientConfinement()', () => {
  it('says which is in force, and warns where nobody chose to go without', () => {
    check(checkClientConfinement(confined, '/c', true), 'ok', /^confined/);
    check(checkClientConfinement(inherited, '/c', false), 'ok', /^inherited/);
    check(checkClientConfinement(inherited, '/c', true), 'warning', /Landlock/, /confined/);
    check(checkClientConfinement(chosenNone, '/c', true), 'ok', /^none/);
    check(checkClientConfinement(none, '/c', true), 'warning', /^none/, /^make install/);
  });
  it('says the same of a host', () => {
    check(checkHostConfinement(confined, '/h'), 'ok', /^confined/);
    check(checkHostConfinement(chosenNone, '/h'), 'ok', /^none/);
    check(checkHostConfinement(none, '/h'), 'warning', /^none/, /confined = false/);
  });
});

describe('client: checkSender()', () => {
  it('only warns of an rsync that must be able to list all folders, since it works', () => {
    check(checkSender({ needs: { listsAll: false }, listed: [] }), 'ok');
    check(
      checkSender({ needs: { listsAll: false }, listed: ['/a/[b]/c'] }),
      'warning',
      matching`"\/a\/\[b\]\/c".*${says('names-in-every-folder')}`,
      /folder above/,
    );
    const all = checkSender({ needs: { listsAll: true }, listed: [] });
    check(all, 'warning', says('names-in-every-folder'), /apt-get install rsync/);
  });
});
