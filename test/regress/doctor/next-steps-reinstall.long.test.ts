// Goal: where doctor or backup says `make install`, that mends it, in a machine with dialback installed: each time something of the
// installation is taken away, what is printed is run in the checkout as root, and it is looked at again.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import type { Finding } from '../../../src/doctor/finding.ts';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import type { Ended } from '../../support/machine.ts';
import { Site, type User } from '../../support/site.ts';
import { findingOf } from '../../support/steps.ts';
import { matching, says } from '../../support/wording.ts';
import { NEEDS_ROOT } from '../../support/world.ts';

const LAUNCHER = '/usr/local/libexec/dialback/launch';
const NEVER = '/etc/dialback/never';

interface Defect {
  what: string;
  make: string;
  check: string;
  found: RegExp;
  /** In the long tests alone: of the same kind as another one. */
  /** What is printed; the groups are the commands. */
  next: RegExp;
}

const DEFECTS: Defect[] = [
  {
    what: 'a launcher that is gone',
    make: `rm ${LAUNCHER}`,
    check: 'launcher.file',
    found: matching`^${says('there-is-no-launcher')}`,
    next: matching`^(make install), ${says('as-root-in-dialbacks-sources')}$`,
  },
  {
    what: 'a folder in the place of the launcher',
    make: `rm ${LAUNCHER} && mkdir ${LAUNCHER}`,
    check: 'launcher.file',
    found: matching`${says('is-not-a-plain-file')}$`,
    next: matching`^(mv '\S+' '\S+'), as root; then (make install), ${says('as-root-in-dialbacks-sources')}$`,
  },
  {
    what: 'a launcher of the group root',
    make: `chgrp root ${LAUNCHER}`,
    check: 'launcher.run',
    found: matching`${says('may-not-run-it-group')} root`,
    next: matching`^(make install), ${says('as-root-in-dialbacks-sources')}$`,
  },
  {
    what: 'a list of never that is gone, with the one that was installed',
    make: `rm ${NEVER} /usr/local/share/dialback/never`,
    check: 'client.never_list',
    found: /\/never": /,
    next: matching`^(make install), ${says('as-root-in-dialbacks-sources')}; ${says('then-add-the-paths-that')}$`,
  },
  {
    what: 'a list of never that this account may not read',
    make: `chmod 600 ${NEVER}`,
    check: 'client.never_list',
    found: /\/never": /,
    next: /^as root: (chmod 644 \S+)$/,
  },
  {
    what: 'a launcher that was compiled for another list of never',
    make: `cp ${NEVER} /etc/dialback/other && mv ${NEVER} /etc/dialback/away &&
      SERVICE_UID=$(id -u dialback) SELF_PATH=${LAUNCHER} RSYNC_PATH=/usr/bin/rsync DIALBACK_PATH=/usr/local/bin/dialback \
        NEVER_PATH=/etc/dialback/other INHERITED=0 tools/launcher.sh launch ${LAUNCHER} &&
      chown root:dialback ${LAUNCHER} && chmod 750 ${LAUNCHER} && setcap cap_dac_read_search=ep ${LAUNCHER}`,
    check: 'client.never_list',
    found: says('uses-another-list-than'),
    next: matching`^(make install), ${says('as-root-in-dialbacks-sources')}$`,
  },
];

describe('a next step to install', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let site: Site;
  let client: User;
  before(async () => {
    site = await Site.make();
    await site.say(
      'make install && mkdir /srv/data && touch /srv/key /srv/key.pub && echo content >/srv/data/file',
    );
    client = await site.user('dialback');
    const toml = [
      'name = "acorn"\ncapability = "confined"',
      '[[remote]]\ntarget = "ssh://vault@127.0.0.1:9"\ntransport = "channel"\nidentity = "/srv/key"\nknown_hosts = "/srv/key.pub"',
      '[scope]\nroots = ["/srv/data"]\n',
    ];
    writeFileSync(site.machine.path('/etc/dialback/client.toml'), toml.join('\n'));
  });
  after(async () => {
    await site?.machine.end();
  });

  const as = async (command: string): Promise<Ended> => await site.shell(`cd / && ${command}`, client);
  const look = async (): Promise<Finding[]> =>
    JSON.parse((await as('dialback doctor --client --json || [ $? -lt 3 ]')).output) as Finding[];
  const isWell = async (what: string): Promise<void> => {
    const bad = (await look()).filter(
      ({ check, state }) => state !== 'ok' && /^(launcher\.|client\.(never|jail|confinement))/.test(check),
    );
    // Of the paths in the list not each is on this machine.
    assert.deepEqual(
      bad.filter(({ check }) => check !== 'client.never'),
      [],
      what,
    );
  };

  for (const { what, make, check, found, next } of DEFECTS)
    it(`mends ${what}`, async () => {
      await site.say(make);
      const { next: said } = findingOf(await look(), check, found);
      const [, ...commands] = next.exec(said ?? '') ?? assert.fail(`${said} is not ${next}`);
      for (const command of commands) await site.say(command);
      await isWell(what);
    });

  it('for backup mends a launcher that says what this program does not understand', async () => {
    await site.say(`printf '#!/bin/sh\\necho nonsense\\n' >${LAUNCHER}`);
    const { status, output } = await as('dialback backup');
    assert.notEqual(status, 0);
    assert.match(output, says('the-launcher-is-of-another'));
    await site.say(/^next: (make install)/m.exec(output)?.[1] ?? 'false');
    await isWell('another version');
  });
});
