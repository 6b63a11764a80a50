/**
 * The Debian package on a machine of a suite: apt installs the previous version, a backup works, an upgrade during a run, the next
 * steps that mend an installation, `remove`, a second installation, a refused downgrade, and `purge`. Nothing of a store or of a key
 * is lost.
 */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Finding } from '../../src/doctor/finding.ts';
import { makeDebs } from '../support/debs.ts';
import { newVersion, OLD_VERSION } from '../support/old-version.ts';
import { FACTS, LAUNCHER, PRINT_FACTS, UID_FILE } from '../support/package-facts.ts';
import { findingOf } from '../support/steps.ts';
import { Run } from './combination.ts';
import type { Root } from './roots.ts';
import { connect, type Package, Station } from './station.ts';

const TIMER_LINK = '/etc/systemd/system/timers.target.wants/dialback-backup.timer';
const TIMER = '/usr/lib/systemd/system/dialback-backup.timer';
const KEPT_CONFFILE = '/etc/dialback/excludes';

/** Packages of a previous version and of this one. */
export interface Debs extends Package {
  /** Their paths in a machine. */
  first: string;
  second: string;
}

/**
 * Makes them, nearly without compression.
 * @param folder is made; its files are copied into a machine, and `script` installs the first package there
 */
export async function packDebs(folder: string): Promise<Debs> {
  const made = await makeDebs(join(folder, 'srv'));
  const [first, second] = [`/srv/${made.first}`, `/srv/${made.second}`];
  return { folder, first, second, script: install(first) };
}

function install(deb: string, option = ''): string {
  return `DEBIAN_FRONTEND=noninteractive apt-get install -o Dpkg::Use-Pty=0 -qqy --no-install-recommends ${option} ${deb} 2>&1`;
}

/** The launcher with a damaged file of its uid: it must refuse, and say that it is this file. */
async function checkUidFile(station: Station): Promise<void> {
  const damages: [damage: string, found: RegExp][] = [
    ['rm FILE', /No such file/],
    ["printf '0\\n' >FILE", /it is not the number of a user/],
    ['printf 1234 >FILE', /it is not the number of a user/],
    ["printf '1234\\n\\n' >FILE", /it is not the number of a user/],
    ["printf ' 1234\\n' >FILE", /it is not the number of a user/],
    ["printf -- '-1\\n' >FILE", /it is not the number of a user/],
    ["printf '4294967295\\n' >FILE", /it is not the number of a user/],
    ["printf '42949672961\\n' >FILE", /it is not the number of a user/],
    [': >FILE', /it is not the number of a user/],
    ['chmod g+w FILE', /can be written by others/],
    ['chmod o+w FILE', /can be written by others/],
    ['chown dialback FILE', /belongs to uid \d+, not to root/],
    ['chown dialback /etc/dialback', /belongs to uid \d+, not to root/],
    ['mv FILE /srv/moved && ln -s /srv/moved FILE', /Too many levels of symbolic links/],
    ["printf '1234\\n' >FILE", /it was made for uid 1234/],
  ];
  await station.say('root', `cp -a ${UID_FILE} /srv/uid`);
  for (const [damage, found] of damages) {
    const script = damage.replaceAll('FILE', UID_FILE);
    await station.say('root', script);
    const { status, output } = await station.run('dialback', `${LAUNCHER} send /`);
    assert.equal(status, 126, `${script}\n${output}`);
    assert.match(output, /^dialback-launch: Cannot /m);
    assert.match(output, found, script);
    await station.say(
      'root',
      `rm -f ${UID_FILE} && cp -a /srv/uid ${UID_FILE} && chown root:root /etc/dialback`,
    );
  }
  const { output } = await station.run('dialback', `${LAUNCHER} send /`);
  assert.match(output, /it is not called/, 'the file is accepted again');
}

async function checkInstalled(station: Station): Promise<void> {
  const facts = await station.say(
    'root',
    `${PRINT_FACTS}
     grep -c '^[^#].*backup$' /etc/cron.d/dialback || true`,
  );
  assert.deepEqual(facts.split('\n'), [...FACTS, '0']);
}

const VERSIONS = '/var/lib/dialback/versions';
/** Writes down which version the run is of, also when its file is replaced, and waits. */
const HOOK = `#!/bin/sh
"/proc/$PPID/exe" version >>${VERSIONS}
: >/var/lib/dialback/waits
until [ -e /srv/upgraded ]; do sleep 0.1; done
`;

/** An upgrade while a run waits in its hook: it goes on with the new launcher. The next run is one of the new version. */
async function upgradeDuringRun(run: Run, second: string): Promise<void> {
  const { client: station } = run;
  await station.say('root', `cat >/srv/wait <<'END'\n${HOOK}END\nchmod 755 /srv/wait`);
  await station.say('dialback', `printf '[hooks]\\nbefore = "/srv/wait"\\n' >>${run.clientConfig}`);
  await station.say('root', `ln -s ${TIMER} ${TIMER_LINK} && echo '# mine' >>${KEPT_CONFFILE}`);
  const backup = run.backup();
  backup.catch(() => {}); // awaited below
  await station.say('root', 'until [ -e /var/lib/dialback/waits ]; do sleep 0.1; done');
  await station.say('root', `${install(second)} && : >/srv/upgraded`);
  await backup;
  await checkInstalled(station);
  assert.match(station.read(KEPT_CONFFILE), /^# mine$/m);
  assert.equal(await station.say('root', `readlink ${TIMER_LINK}`), TIMER);
  await run.backup();
  await run.restore();
  const versions = station.read(VERSIONS).match(/^dialback \S+/gm);
  assert.deepEqual(versions, [`dialback ${OLD_VERSION}`, `dialback ${newVersion()}`]);
}

interface Damage {
  script: string;
  check: string;
  /** The step that doctor must print; `FILE` is the name of the package's file. The first group is the command. */
  step: string;
}

const IN_FOLDER = ', as root, [^;]*';
/** What can be lost of an installation, and how doctor says to get it back while the package came as a file. */
const DAMAGES: Damage[] = [
  {
    script: `rm ${LAUNCHER}`,
    check: 'launcher.file',
    step: `(apt-get install --reinstall \\./FILE)${IN_FOLDER}`,
  },
  {
    script: `chgrp root ${LAUNCHER}`,
    check: 'launcher.run',
    step: `(apt-get install --reinstall \\./FILE)${IN_FOLDER}`,
  },
  {
    script: 'rm /etc/dialback/never /usr/share/dialback/never',
    check: 'client.never_list',
    step: `(apt-get install --reinstall -o Dpkg::Options::=--force-confmiss \\./FILE)${IN_FOLDER}; then .*`,
  },
];

/** Follows the steps that doctor prints for damage to the installation. */
async function followSteps(run: Run, deb: string): Promise<void> {
  const { client: station } = run;
  const findings = async (): Promise<Finding[]> =>
    JSON.parse(
      (await station.run('dialback', `dialback doctor --client --json --config ${run.clientConfig}`)).output,
    ) as Finding[];
  const follow = async ({ script, check, step }: Damage): Promise<void> => {
    await station.say('root', script);
    const { next } = findingOf(await findings(), check);
    const name = basename(deb).replaceAll('.', '\\.').replaceAll('+', '\\+');
    const command = new RegExp(`^${step.replace('FILE', name)}$`).exec(next ?? '')?.[1];
    assert.ok(command, `${script}: ${next}`);
    await station.say('root', `cd /srv && DEBIAN_FRONTEND=noninteractive ${command} 2>&1`);
    const { state, found } = findingOf(await findings(), check);
    assert.equal(state, 'ok', `${script}: ${found}`);
    await checkInstalled(station);
  };
  for (const damage of DAMAGES) await follow(damage);

  await station.say(
    'root',
    `cd /srv && { dpkg-deb --field ${deb} && stat --printf 'Filename: ./%n\\nSize: %s\\n' ${basename(deb)} &&
       sha256sum ${basename(deb)} | sed 's/^/SHA256: /; s/ [^ ]*$//'; } >Packages`,
  );
  const list = 'sources.list.d/dialback.list';
  await station.say(
    'root',
    `echo 'deb [trusted=yes] file:/srv ./' >/etc/apt/${list} &&
     apt-get update -o Dir::Etc::sourcelist=${list} -o Dir::Etc::sourceparts=- -o APT::Get::List-Cleanup=0 2>&1`,
  );
  await follow({
    script: `rm ${LAUNCHER}`,
    check: 'launcher.file',
    step: '(apt-get install --reinstall dialback), as root',
  });
  await station.say('root', `rm /etc/apt/${list} /srv/Packages`);
}

async function refuseDowngrade(station: Station, first: string): Promise<void> {
  const json = '/home/vault/the store/store.json';
  // A store that the account dialback keeps: the package does not look into the homes of others.
  const store = '/var/lib/dialback/dialback-store';
  await station.say('dialback', `mkdir ${store} && echo '{"version":2}' >${store}/store.json`);
  const { status, output } = await station.run('root', install(first, '--allow-downgrades'));
  assert.notEqual(status, 0, output);
  assert.match(
    output,
    /^dialback: Cannot downgrade to .*: it reads stores of version 1, and a store has version 2:$/m,
  );
  assert.ok(output.includes(`  ${store}\n`), output);
  await checkInstalled(station);
  await station.say(
    'dialback',
    `cp /dev/null ${store}/store.json && echo '{"version":1}' >${store}/store.json`,
  );
  await station.say('root', install(first, '--allow-downgrades'));
  await checkInstalled(station);
  assert.ok(existsSync(station.path(json)));
}

/** What `remove` and `purge` leave, by name. */
async function removeAndPurge(run: Run, deb: string): Promise<void> {
  const { client: station, store, clientConfig } = run;
  // The host's process outlives the client's call.
  const files = `while pgrep -u vault >/dev/null; do sleep 0.1; done; find '${store}' -printf '%p %i %s %T@\\n' | LC_ALL=C sort | sha256sum`;
  const before = await station.say('root', files);
  await station.say('root', 'apt-get remove -o Dpkg::Use-Pty=0 -qqy dialback 2>&1');
  for (const gone of [LAUNCHER, '/usr/bin/dialback', TIMER]) assert.ok(!existsSync(station.path(gone)), gone);
  assert.equal(await station.say('root', files), before, 'the store after remove');
  assert.match(station.read(KEPT_CONFFILE), /^# mine$/m);
  for (const kept of [clientConfig, `${run.folder}/key`, '/etc/cron.d/dialback', UID_FILE])
    assert.ok(existsSync(station.path(kept)), kept);

  await station.say('root', install(deb));
  await checkInstalled(station);
  assert.equal(await station.say('root', `readlink ${TIMER_LINK}`), TIMER, 'the timer is still enabled');
  await run.backup();
  const held = await station.say('root', files);

  await station.say(
    'dialback',
    'mkdir -p ~/.config/dialback ~/.local/state && echo >~/.config/dialback/client.toml',
  );
  const link = 'ln -s /etc/dialback/excludes ~/.local/state/dialback 2>/dev/null || true';
  await station.say('dialback', link);
  const output = await station.say('root', 'apt-get purge -o Dpkg::Use-Pty=0 -qqy dialback 2>&1');
  assert.equal(await station.say('root', files), held, 'the store after purge');
  assert.match(
    output,
    /^dialback: kept, with all backups in it:\n {2}\/var\/lib\/dialback\/dialback-store$/m,
  );
  assert.match(output, /^dialback: kept \/var\/lib\/dialback, with the keys, and the account dialback$/m);
  for (const gone of [
    '/etc/dialback',
    '/etc/cron.d/dialback',
    '/var/lib/dialback/.config/dialback/client.toml',
  ])
    assert.ok(!existsSync(station.path(gone)), gone);
  assert.ok(existsSync(station.path('/var/lib/dialback/dialback-store/store.json')));
  assert.ok(existsSync(station.path(`${run.folder}/key`)));
  await station.say('root', `! test -L ${TIMER_LINK} && id dialback`);
}

/** @throws with the first failed check */
export async function runDeb(root: Root, debs: Debs): Promise<void> {
  const station = await Station.make(root, debs);
  try {
    await checkInstalled(station);
    await checkUidFile(station);
    await using cable = connect(station, station);
    const run = new Run(station, station, { transport: 'direct', right: 'confined' }, cable, 'deb');
    await run.prepare();
    await run.backup();
    await run.restore();
    await upgradeDuringRun(run, debs.second);
    await followSteps(run, debs.second);
    await refuseDowngrade(station, debs.first);
    await removeAndPurge(run, debs.second);
  } finally {
    await station.end();
  }
}
