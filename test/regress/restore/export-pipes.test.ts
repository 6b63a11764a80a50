// Goal: the pipes of docs/manual.md, "Exporting", work as they are written there, with the programs of Debian 12: to another machine
// over ssh, and encrypted by gpg and age. In each case the files come out of the other end.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { appendFileSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe } from 'node:test';
import { IN_CLEAN_MACHINE, TOP } from '../../support/checkout.ts';
import { itLong, itShort } from '../../support/long.ts';
import { NEEDS_ROOT, World } from '../../support/world.ts';

/** The commands of that section that begin with one of some words. */
function documented(pattern: RegExp): string[] {
  const manual = readFileSync(join(TOP, 'docs/manual.md'), 'utf8');
  const section = /\n## Exporting\n(.*?)\n## /s.exec(manual)?.[1] ?? '';
  return section.split('\n').filter(line => /^(dialback|gpg|age|restic)\b/.test(line) && pattern.test(line));
}

describe('a pipe behind export', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let world: World;
  let place: string;
  before(async () => {
    world = await World.make();
    world.write(world.client, join(world.data, 'file'), 'content', 0o640);
    assert.equal((await world.backup()).status, 0);
  });
  after(async () => {
    await world.dispose();
  });

  /** Runs a documented line as the store's account, in an empty folder, with this world's names. */
  async function run(line: string, names: [from: string, to: string][] = []): Promise<string> {
    const own: [string, string][] = [
      [
        'dialback export laptop /home/anna/docs',
        `'${world.binary}' export acorn '${world.data}' --config '${world.hostToml}'`,
      ],
      ['dialback export laptop', `'${world.binary}' export acorn --config '${world.hostToml}'`],
    ];
    const script = [...names, ...own].reduce((text, [from, to]) => text.replaceAll(from, to), line);
    const { status, stdout, stderr } = await world.start(world.host, '/bin/bash', [
      ...['-c', `set -o pipefail; cd "$0" && ${script}`, place],
    ]).done;
    assert.equal(status, 0, `${script}: ${stderr}`);
    return stdout;
  }
  const make = (): void => {
    place = join(world.host.home, 'a place');
    rmSync(place, { recursive: true, force: true });
    mkdirSync(place, { mode: 0o700 });
    world.own(world.host, place);
  };
  const assertUnpacked = (): void => {
    assert.equal(readFileSync(join(place, world.data, 'file'), 'utf8'), 'content');
  };

  const asHost = (script: string): void => {
    execFileSync('runuser', ['-u', world.host.login, '--', '/bin/sh', '-c', script], { stdio: 'pipe' });
  };

  itShort('reaches another machine over ssh', async () => {
    make();
    const key = join(world.host.home, '.ssh/own');
    world.keygen(world.host, key);
    appendFileSync(world.authorizedKeys, readFileSync(`${key}.pub`));
    const options = `-F none -i '${key}' -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -p ${world.port}`;
    const [line = ''] = documented(/\| ssh /);
    assert.match(line, /\| ssh root@laptop /);
    // An ordinary account on the other side, in place of root.
    await run(line, [
      ['ssh root@laptop', `ssh ${options} ${world.host.login}@127.0.0.1`],
      ['/root/restored', `'${place}'`],
      ['--acls', '--acls --warning=no-unknown-keyword'],
    ]);
    assertUnpacked();
  });

  itLong('is encrypted by gpg', async () => {
    make();
    const home = join(world.host.home, 'gnupg');
    mkdirSync(home, { mode: 0o700 });
    world.own(world.host, home);
    const gpg = `gpg --homedir '${home}' --batch --quiet`;
    asHost(`cd / && ${gpg} --passphrase '' --quick-gen-key anna@example.org`);
    const [encrypt = '', decrypt = ''] = documented(/\bgpg /);
    try {
      await run(encrypt, [['gpg --', `${gpg} --trust-model always --`]]);
      await run(decrypt, [['gpg --', `${gpg} --`]]);
    } finally {
      asHost(`gpgconf --homedir '${home}' --kill all`);
    }
    assertUnpacked();
  });

  itShort('is encrypted by age', async () => {
    make();
    const [makeKey = '', encrypt = '', decrypt = ''] = documented(/\bage(-keygen)? /);
    await run(makeKey);
    const recipient = /public key: (age1\w+)/.exec(readFileSync(join(place, 'key.txt'), 'utf8'))?.[1] ?? '';
    await run(encrypt, [['age1…', recipient]]);
    await run(decrypt);
    assertUnpacked();
  });
});
