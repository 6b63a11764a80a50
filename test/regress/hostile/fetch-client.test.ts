// Goal: a client gets from its host what an open offer names, and nothing else: not without an offer, not with one that is used,
// revoked, expired or another client's, and not by any request to the rsync that serves an offer. A refusal tells nothing.
import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fetchFiles, offer, offerState, tryOffer } from '../../support/fetching.ts';
import { IS_LONG, itLong, itShort, some } from '../../support/long.ts';
import { says } from '../../support/wording.ts';
import { NEEDS_ROOT, type Result, World } from '../../support/world.ts';

const SECRET = 'the secret of another file';

describe('the refusals of a fetch', { skip: NEEDS_ROOT }, () => {
  let world: World;
  before(async () => {
    world = await World.make();
    world.write(world.client, join(world.data, 'file'), 'content');
    assert.equal((await world.backup()).status, 0);
  });
  after(async () => {
    await world.dispose();
  });

  const ask = async (line: string, name = world.name): Promise<Result> =>
    await world.callHost([], [`${name}:fetch`], line);
  const request = (code: string, action = 'list'): string => `dialback-fetch 1 ${action} ${code}\n`;
  const journal = (): Record<string, unknown>[] =>
    world.journal('host').filter(each => String(each.event).startsWith('fetch'));

  it('are the same bytes for every reason, and a line in the journal has the reason', async () => {
    const used = await offer(world);
    assert.equal((await fetchFiles(world, used.code, ['--to', join(world.client.home, 'used')])).status, 0);
    const revoked = await offer(world);
    assert.equal((await tryOffer(world, ['--revoke', revoked.id])).status, 0);
    const expired = await offer(world);
    const file = join(world.shelf, 'offers', `${expired.id}.json`);
    const record = readFileSync(file, 'utf8').replace(
      /"expires":"[^"]*"/,
      '"expires":"2020-01-01T00:00:00.000Z"',
    );
    world.write(world.host, file, record);
    world.keygen(world.client, join(world.client.home, 'other'));
    assert.equal(
      (await world.enroll('other', readFileSync(join(world.client.home, 'other.pub'), 'utf8'))).status,
      0,
    );
    mkdirSync(join(world.store, 'clients/other/offers'), { mode: 0o700 });
    const foreign = await offer(world);
    const foreignFile = join(world.shelf, 'offers', `${foreign.id}.json`);
    world.write(
      world.host,
      join(world.store, `clients/other/offers/${foreign.id}.json`),
      readFileSync(foreignFile),
    );
    world.own(world.host, join(world.store, 'clients/other/offers'));
    rmSync(foreignFile);
    const open = await offer(world);
    const cases: [what: string, line: string, reason: RegExp][] = [
      ['no offer', request('0000-0000-0000-0000-0000-0000-0000'), says('no-such-offer')],
      ['used', request(used.code), /: it was used at 20/],
      ['revoked', request(revoked.code, 'files'), /: it was revoked at 20/],
      ['expired', request(expired.code), /: it expired at 2020/],
      ["another client's", request(foreign.code), says('no-such-offer')],
      ['a code that is no code', request('../../../../etc/passwd'), says('malformed-code')],
      ['no line', open.code, /not one line/],
    ];
    const more: typeof cases = [
      ['used, confirmed again', request(used.code, 'done'), /: it was used at 20/],
      ['small letters', request(open.code.toLowerCase()), says('malformed-code')],
      ['an unknown action', request(open.code, 'everything'), says('not-action-and-code')],
      ['another version', request(open.code).replace(' 1 ', ' 2 '), says('no-request-of-fetch')],
      ['more behind it', `${request(open.code)}x`, /not one line/],
      ['too much', 'x'.repeat(100_000), /not one line/],
      ['nothing', '', /not one line/],
    ];
    const answers = new Set<string>();
    for (const [what, line, reason] of IS_LONG ? [...cases, ...more] : cases) {
      const before = journal().length;
      const { status, stdout, stderr } = await ask(line);
      answers.add(JSON.stringify([status, stdout, stderr]));
      assert.equal(answers.size, 1, `${what}: ${[...answers].join('\n')}`);
      const lines = journal().slice(before);
      assert.equal(lines.length, 1, what);
      assert.equal(lines[0]?.event, 'fetch-refused', what);
      assert.match(String(lines[0]?.reason), reason, what);
    }
    const [status, stdout, stderr] = JSON.parse([...answers][0] ?? '[]') as [number, string, string];
    assert.equal(status, 12);
    assert.equal(stdout, '');
    assert.match(
      stderr,
      /^dialback-event: \{"event":"outcome","outcome":"failed","code":"no-offer",[^\n]*\}\n$/,
    );
    assert.equal(await offerState(world, open.id), 'open');
  });

  itShort('of a stranger come from sshd', async () => {
    const { code } = await offer(world);
    const key = join(world.client.home, 'stranger');
    world.keygen(world.client, key);
    const { status, stderr } = await fetchFiles(world, code, [
      '--to',
      join(world.client.home, 'x'),
      '--identity',
      key,
    ]);
    assert.equal(status, 12);
    assert.match(stderr, says('does-not-accept-the-key'));
    assert.ok(!existsSync(join(world.client.home, 'x')));
  });

  itShort('of the key of one offer: it serves this offer, and nothing else', async () => {
    const key = join(world.client.home, 'rescue');
    world.keygen(world.client, key);
    const words = ['--key', '-'];
    const made = await tryOffer(world, words, readFileSync(`${key}.pub`, 'utf8'));
    assert.equal(made.status, 0, made.stderr);
    const bound = JSON.parse(made.stdout) as { id: string; code: string };
    const other = await offer(world);
    const withKey = async (code: string, command = 'any:fetch'): Promise<Result> =>
      await world.start(
        world.client,
        '/usr/bin/ssh',
        [
          '-F',
          'none',
          '-i',
          key,
          '-o',
          'LogLevel=ERROR',
          '-o',
          'BatchMode=yes',
          '-o',
          'IdentitiesOnly=yes',
        ].concat(['-p', String(world.port), '-l', world.host.login, world.address, command]),
        { input: request(code) },
      ).done;
    const none = await ask(request('0000-0000-0000-0000-0000-0000-0000'));
    for (const refused of [
      await withKey(other.code),
      await withKey(bound.code, `${world.name}:channel`),
      await withKey(bound.code, `${world.name}:probe`),
      await ask(request(bound.code)), // the enrolled key
    ])
      assert.deepEqual(
        [refused.status, refused.stdout, refused.stderr],
        [none.status, none.stdout, none.stderr],
      );
    assert.equal((await withKey(bound.code)).status, 0);
    assert.match(
      readFileSync(world.authorizedKeys, 'utf8'),
      new RegExp(`expiry-time="\\d{14}Z?",command="[^\\n]* grab --offer ${bound.id} `),
    );
    const hostKey = readFileSync(join(world.host.home, 'sshd/key.pub'), 'utf8')
      .split(' ')
      .slice(0, 2)
      .join(' ');
    const to = join(world.client.home, 'rescued');
    const place = ['--target', world.target, '--host-key', hostKey, '--identity', key];
    const { status, stderr } = await world.run(world.client, ['fetch', bound.code, '--to', to, ...place]);
    assert.equal(status, 0, stderr);
    assert.equal(readFileSync(join(to, world.data, 'file'), 'utf8'), 'content');
    assert.ok(
      !readFileSync(world.authorizedKeys, 'utf8').includes(bound.id),
      'the key is gone with its offer',
    );
  });

  itLong('of offers that name nothing in the snapshot', async () => {
    for (const [word, found] of [
      [`${world.data}/nothing`, says('snapshot-does-not-have-it')],
      [`${world.data}/../x`, /without "\.", "\.\."/],
      ['relative', says('it-is-not-an-absolute')],
    ] as const) {
      const { status, stderr } = await tryOffer(world, [world.name, word]);
      assert.notEqual(status, 0, word);
      assert.match(stderr, found);
    }
  });
});

for (const launcher of some([true, false], 2))
  describe(`a hostile client with an offer, ${launcher ? 'in the jail' : 'without a launcher'}`, {
    skip: NEEDS_ROOT,
  }, () => {
    let world: World;
    let code: string;
    let other: string;
    const offered = (name: string): string => join(world.data, name);
    before(async () => {
      world = await World.make({ launcher });
      for (const name of ['offered', 'not offered']) {
        mkdirSync(offered(name));
        world.own(world.client, offered(name));
        const content = name === 'offered' ? 'may be read' : SECRET;
        world.write(world.client, join(offered(name), 'file'), content);
      }
      world.write(world.client, offered('beside'), SECRET);
      assert.equal((await world.backup()).status, 0);
      other = world.snapshots()[0] ?? '';
      world.write(world.client, join(offered('offered'), 'file'), 'may be read now');
      world.write(world.host, join(world.host.home, 'rules'), `+ ${SECRET}\n`);
      assert.equal((await world.backup(['--remote', 'vault'])).status, 0);
      code = (await offer(world, [`${world.name}@${world.snapshots()[1]}`, offered('offered')])).code;
    });
    after(async () => {
      await world.dispose();
    });

    /** Runs the client's own rsync, with any arguments, against the daemon of the offer. */
    const rsync = async (args: string[]): Promise<Result> => {
      const script = join(world.base, 'raw-fetch.mjs');
      writeFileSync(script, readFileSync(join(import.meta.dirname, '../../support/raw-fetch.mjs')));
      chmodSync(script, 0o644);
      const node = join(world.base, 'node');
      if (!existsSync(node)) {
        writeFileSync(node, readFileSync(process.execPath), { mode: 0o755 });
        chmodSync(node, 0o755);
      }
      const ssh = [
        '-F',
        'none',
        '-i',
        join(world.client.home, '.ssh/id_ed25519'),
        '-o',
        'LogLevel=ERROR',
        '-o',
        'BatchMode=yes',
      ].concat(['-p', String(world.port), '-l', world.host.login, world.address, `${world.name}:fetch`]);
      const shell = [node, script, code, ...ssh, 'END'].map(word => `'${word}'`).join(' ');
      return await world.start(world.client, '/usr/bin/rsync', ['-e', shell, ...args], { timeoutMs: 30_000 })
        .done;
    };

    it('reads what is offered', async () => {
      const to = join(world.client.home, 'got');
      const { status, stderr } = await rsync(['-aR', `host::root${offered('offered')}`, `${to}/`]);
      assert.equal(status, 0, stderr);
      assert.equal(readFileSync(join(to, offered('offered'), 'file'), 'utf8'), 'may be read now');
    });

    it('reads and writes nothing else, whatever it asks for', async () => {
      const to = join(world.client.home, 'stolen');
      mkdirSync(to);
      world.own(world.client, to);
      const tree = world.tree(world.snapshots()[1] ?? '');
      const attempts: [what: string, args: string[]][] = [
        ['everything', ['-r', 'host::root/', `${to}/`]],
        ['a path beside', ['-rR', `host::root${offered('not offered')}`, `${to}/`]],
        ['a file beside', [`host::root${offered('beside')}`, `${to}/`]],
        ['by ..', ['-r', `host::root${offered('offered')}/../not offered/`, `${to}/`]],
        ['out of the tree by ..', ['-r', 'host::root/../../', `${to}/`]],
        ['the record', ['host::root/../snapshot.json', `${to}/`]],
        ['another snapshot', ['-r', `host::root/../../${other}/tree/`, `${to}/`]],
        ['an absolute path', ['-r', `host::root${tree}/`, `${to}/`]],
        ['a pattern', ['-r', `host::root${world.data}/*/`, `${to}/`]],
        ['by a list of files', ['-r', '--files-from=:/etc/passwd', 'host::root/', `${to}/`]],
        ['the list of modules', ['host::']],
        ['another module', ['-r', 'host::other/', `${to}/`]],
        [
          'merge rules of the host',
          [
            '-r',
            `--filter=. ${join(world.host.home, 'rules')}`,
            '-M--filter=. /etc/passwd',
            'host::root/',
            `${to}/`,
          ],
        ],
        [
          'per-folder merge rules',
          ['-r', '--filter=: /snapshot.json', '--filter=:s,/ ../snapshot.json', 'host::root/', `${to}/`],
        ],
        ['a cleared filter', ['-r', '--filter=!', 'host::root/', `${to}/`]],
        ['to copy what links lead to', ['-rL', '--copy-unsafe-links', 'host::root/', `${to}/`]],
        ['another config', ['-r', '-M--config=/etc/passwd', 'host::root/', `${to}/`]],
        ['parameters of the daemon', ['-r', '-M--dparam=path=/', '-M-Mpath=/', 'host::root/', `${to}/`]],
        [
          'a log on the host',
          ['-r', `-M--log-file=${world.host.home}/log`, `host::root${offered('offered')}/`, `${to}/`],
        ],
        [
          'a temporary folder on the host',
          ['-r', '-M--temp-dir=/tmp', `host::root${offered('offered')}/`, `${to}/`],
        ],
        [
          'to remove what it has read',
          ['-r', '--remove-source-files', `host::root${offered('offered')}/`, `${to}/`],
        ],
        ['to write', ['-r', `${join(world.client.home, '.ssh')}/`, `host::root${offered('offered')}/`]],
        [
          'to write, fake-super off',
          ['-r', '-M--no-fake-super', '-M--super', `${join(world.client.home, '.ssh')}/`, 'host::root/'],
        ],
        ['without fake-super', ['-rX', '-M--no-fake-super', 'host::root/', `${to}/`]],
        ['devices as files', ['-r', '--copy-devices', 'host::root/', `${to}/`]],
        ['secluded arguments', ['-rs', `host::root${offered('not offered')}/`, `${to}/`]],
      ];
      const stored = readdirSync(tree).sort();
      for (const [what, args] of some(attempts, 6)) {
        const { stdout, stderr } = await rsync(args);
        const said = `${stdout}${stderr}`;
        assert.ok(!said.includes(SECRET), `${what}: ${said}`);
        assert.ok(!said.includes('root:x:0'), `${what}: ${said}`);
        assert.deepEqual(leaked(to), [], what);
      }
      assert.deepEqual(readdirSync(tree).sort(), stored);
      assert.equal(readFileSync(join(tree, offered('offered'), 'file'), 'utf8'), 'may be read now');
      assert.ok(!existsSync(join(world.host.home, 'log')));
    });

    /** Files that were received and are not the offered one. */
    function leaked(folder: string): string[] {
      return readdirSync(folder, { recursive: true, withFileTypes: true })
        .filter(
          each =>
            each.isFile() && readFileSync(join(each.parentPath, each.name), 'utf8') !== 'may be read now',
        )
        .map(each => join(each.parentPath, each.name));
    }

    it('has left the offer open: nothing was confirmed', async () => {
      assert.equal((await fetchFiles(world, code, ['--to', join(world.client.home, 'end')])).status, 0);
    });
  });
