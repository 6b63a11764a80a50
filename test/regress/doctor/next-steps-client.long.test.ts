// Goal: what doctor says of a client's config, state, hooks, port and paths of never mends it as it is printed, or shows what is meant.
// Many defects are made at once, so that one look finds all of them and one more sees that each is gone.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  lchownSync,
  linkSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Finding } from '../../../src/doctor/finding.ts';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { findingOf, Steps } from '../../support/steps.ts';
import { matching, says, wording } from '../../support/wording.ts';
import { NEEDS_ROOT, World } from '../../support/world.ts';

describe('a next step about a client', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let world: World;
  let steps: Steps;
  /** What doctor finds before anything is mended. */
  let findings: Finding[];
  let server: Server;
  let port: number;
  const own = (path: string): void => world.own(world.client, path);
  const place = (name: string): string => join(world.base, 'places', name);
  const of = (check: string, found?: RegExp): Finding => findingOf(findings, check, found);

  before(async () => {
    world = await World.make();
    const { client, host, data } = world;
    world.write(client, join(data, 'file'), 'content');
    mkdirSync(world.clientState, { mode: 0o700 });
    own(world.clientState);
    chmodSync(world.clientState, 0o500);
    world.write(client, join(client.home, 'hook'), '#!/bin/sh\n', 0o600);
    writeFileSync(join(client.home, 'excludes'), Buffer.from('\ufeff*.bak\n', 'utf16le'));
    own(join(client.home, 'excludes'));
    server = createServer();
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    port = typeof address === 'object' && address ? address.port : 0;
    makePlaces();
    const proxy = join(client.home, 'proxy');
    const script =
      "const s = require('node:net').connect(...process.argv.slice(1).reverse()); process.stdin.pipe(s).pipe(process.stdout)";
    world.write(client, proxy, `#!/bin/sh\nexec '${process.execPath}' -e "${script}" "$1" "$2"\n`, 0o700);
    world.configure({
      remote: [
        `name = "taken"\nfrom = ["127.0.0.1"]\nlisten = "127.0.0.1:${port}"`,
        `[[remote]]\ntarget = "${world.target}"\nname = "proxied"\nfrom = ["127.0.0.1"]\nlisten = "127.0.0.1:0"`,
        `ssh_options = ["ProxyCommand='${proxy}' %h %p"]`,
        `[hooks]\nbefore = "${client.home}/hook"`,
      ].join('\n'),
      scope: [
        `roots = ["${data}"]\nexclude_from = "${client.home}/excludes"`,
        `never = [${['secret', 'closed', 'people/link', 'people/hard', 'n'.repeat(300)].map(each => `"${place(each)}"`).join(', ')}]`,
      ].join('\n'),
    });
    steps = new Steps(world);
    findings = await steps.doctor(client);
    chownSync(host.home, host.uid, host.gid);
  });
  after(async () => {
    server.close();
    await world.dispose();
  });

  /** Paths of never: two with a second name, one that cannot be looked into, two that another user decides about. */
  function makePlaces(): void {
    for (const name of ['', 'secret', 'closed', 'people', 'elsewhere'])
      mkdirSync(place(name), { mode: 0o755 });
    for (const name of ['secret/file', 'closed/file', 'people/hard']) {
      writeFileSync(place(name), name);
      linkSync(place(name), place(`elsewhere/${name.replace('/', ' ')}`));
    }
    for (const name of ['secret', 'secret/file']) own(place(name));
    chmodSync(place('closed'), 0o700);
    symlinkSync(place('elsewhere'), place('people/link'));
    lchownSync(place('people/link'), world.host.uid, world.host.gid);
    chownSync(place('people'), world.host.uid, world.host.gid);
  }

  it('of doctor as another account would see it: with the home of the password file', async () => {
    const elsewhere = { environment: { HOME: world.base } };
    const { stdout } = await world.run(world.client, ['doctor', '--json'], elsewhere);
    const { state, next } = findingOf(JSON.parse(stdout) as Finding[], 'machine.account');
    assert.equal(state, 'warning');
    const said = await steps.follow(next, /(HOME='[^']*' dialback doctor)/, world.client, {
      status: 2,
      ...elsewhere,
    });
    assert.match(said, /^ {2}ok +account: looked at as /m);
  });

  it('gives the state folder back to its account, and shows a mount that is read-only', async () => {
    const shape = /(chmod 700 '[^']*'; findmnt -T '[^']*')/;
    const { state, found, next } = of('client.state');
    assert.equal(state, 'critical', found);
    await steps.follow(next, shape, world.client);
    execFileSync('mount', ['--bind', world.clientState, world.clientState]);
    execFileSync('mount', ['-o', 'remount,bind,ro', world.clientState]);
    const readOnly = findingOf(await steps.doctor(world.client), 'client.state');
    assert.equal(readOnly.state, 'critical');
    const shown = await steps.follow(readOnly.next, shape, world.client);
    assert.match(shown, new RegExp(`^${world.clientState} .* ro,`, 'm'));
    execFileSync('umount', [world.clientState]);
  });

  it('shows that the disk of the state folder is full', async () => {
    execFileSync('mount', [
      '-t',
      'tmpfs',
      '-o',
      `size=1m,mode=700,uid=${world.client.uid}`,
      'small',
      world.clientState,
    ]);
    const { state, next } = findingOf(await steps.doctor(world.client), 'client.state');
    assert.equal(state, 'critical');
    assert.match(
      await steps.follow(next, /(df -h '[^']*')/, world.client),
      new RegExp(`^small +1\\.0M .* ${world.clientState}$`, 'm'),
    );
    execFileSync('umount', [world.clientState]);
  });

  it('names what listens on the port', async () => {
    const shape = matching`(ss -ltnp 'sport = :\d+') ${says('names-it-or-set-listen')} "taken" in client.toml`;
    const shown = await steps.follow(of('client.listen', /another program/).next, shape, world.client, {
      as: 'root',
    });
    assert.match(shown, new RegExp(`^LISTEN .*127\\.0\\.0\\.1:${port} .*pid=${process.pid}\\b`, 'm'));
    await new Promise(resolve => server.close(resolve));
  });

  it('makes a list of excludes plain text', async () => {
    const shape = matching`(iconv -f UTF-16 -t UTF-8 '[^']*' >'([^']*)'), ${says('and-use-that-file')}`;
    const { next } = of('client.excludes');
    const file = shape.exec(next ?? '')?.[2] ?? '';
    await steps.follow(next, new RegExp(shape.source.replace("'([^']*)'", "'[^']*'")), world.client);
    assert.equal(readFileSync(file, 'utf8').replace('\ufeff', ''), '*.bak\n');
    for (const toml of [world.clientToml, steps.clientToml])
      world.write(
        world.client,
        toml,
        readFileSync(toml, 'utf8').replace(/^exclude_from = .*$/m, `exclude_from = "${file}"`),
      );
  });

  it('lets this account run its hook', async () => {
    await steps.follow(of('client.hooks').next, /(chmod a\+rx '[^']*')/, world.client);
  });

  it('does without the launcher, where that is meant', async () => {
    const { next } = of('client.confinement');
    const shape = matching`^make install, .*; ${says('or-to-do-without')}: (sed -i '1i capability = "none"' '[^']*')`;
    await steps.follow(next, shape, world.client);
  });

  it('finds the other names of what must never be read', async () => {
    const SHAPE = String.raw`(find "\$\(findmnt -no TARGET -T '[^']*'\)" -xdev -samefile '[^']*'), as root`;
    const names = (text: string): string[] => text.trim().split('\n').sort();
    const linked = of('client.never', /secret\/file" has another name/).next;
    const removes = new RegExp(`${SHAPE}; ${wording('then-remove-the-other-name')}`);
    const second = [place('elsewhere/secret file'), place('secret/file')];
    assert.deepEqual(names(await steps.follow(linked, removes, world.client, { as: 'root' })), second);
    rmSync(second[0] ?? '');
    const shared = await steps.follow(
      of('client.never', matching`people\/hard" ${says('has-another-name-a-hard')}`).next,
      new RegExp(SHAPE),
      world.client,
      { as: 'root' },
    );
    assert.deepEqual(names(shared), [place('elsewhere/people hard'), place('people/hard')]);
    rmSync(place('elsewhere/people hard'));
    const unseen = matching`(find '[^']*' -xdev -type f -links \+1), ${says('as-root-each-file-that')}`;
    const { next } = of('client.never', matching`${says('cannot-see-all-of')} ".*closed"`);
    assert.deepEqual(names(await steps.follow(next, unseen, world.client, { as: 'root' })), [
      place('closed/file'),
    ]);
    rmSync(place('elsewhere/closed file'));
    chmodSync(place('closed'), 0o755);
  });

  it('shows the link on the way to what must never be read, and what cannot be looked at', async () => {
    const link = matching`(ls -ld '[^']*'); ${says('then-name-in-never-the')}`;
    const { next } = of('client.never', /is not followed/);
    assert.match(
      await steps.follow(next, link, world.client),
      new RegExp(` ${place('people/link')} -> ${place('elsewhere')}\n$`),
    );
    const looked = of('client.never', matching`${says('cannot-be-looked-at')} \(ENAMETOOLONG\)`).next;
    // ls cannot either, and says why.
    await steps.follow(looked, /(ls -ld '[^']*'), as root/, world.client, { as: 'root', status: 2 });
    for (const toml of [world.clientToml, steps.clientToml])
      world.write(
        world.client,
        toml,
        readFileSync(toml, 'utf8')
          .replace(place('people/link'), place('elsewhere'))
          .replace(`, "${place('n'.repeat(300))}"`, ''),
      );
  });

  it('asks for a backup, which tells of the clocks and of the way back', async () => {
    const clock = of('client.clock', /"proxied"/);
    const transport = of('client.transport', /"proxied"/);
    assert.deepEqual([clock.state, transport.state], ['unknown', 'unknown']);
    await steps.follow(
      transport.next,
      /(dialback backup); or in the \[\[remote\]\] "proxied" of client\.toml: .*/,
      world.client,
    );
    await steps.follow(of('client.clock', /"taken"/).next, /(dialback backup)/, world.client);
    await world.settled();
  });

  it('is left for nothing of all that', async () => {
    const now = await steps.doctor(world.client);
    const left = now.filter(
      each => each.state !== 'ok' && !['machine.rsync', 'machine.openssh'].includes(each.check),
    );
    // Another user still decides about one of the paths, which is said of that path.
    assert.deepEqual(
      left.map(each => [each.check, each.next?.replace(/".*"/, '…')]),
      [['client.never', `put … ${wording('itself-into-never-or-move', `'${place('people/hard')}'`)}`]],
      JSON.stringify(left, null, 2),
    );
  });
});
