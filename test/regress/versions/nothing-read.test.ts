// Goal: a run in which the client's rsync could not read a single file is a failure with a code of its own, exit 1 and no
// snapshot, however it failed and over each transport. What has arrived is no backup: the next run makes a whole one.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { compileLibrary } from '../../support/compiled.ts';
import { FAILING_FILES } from '../../support/failing-files.ts';
import { itLong, some } from '../../support/long.ts';
import { OtherRsync } from '../../support/other-rsync.ts';
import { enrollLocal, shelfOf, TRANSPORTS, useTransport } from '../../support/transports.ts';
import { says } from '../../support/wording.ts';
import { type Done, lastLine, NEEDS_ROOT, type Result, World } from '../../support/world.ts';

/** How files fail: variables of the library. */
const FAILURES: [what: string, variables: Record<string, string>][] = [
  ['cannot be opened: EINVAL', {}],
  ['may not be opened: EACCES', { FAILS_WITH: '13' }],
  ['cannot be opened: EIO', { FAILS_WITH: '5' }],
  ['are opened, and cannot be read: EIO', { FAILS_WITH: '5', FAILS_AT: 'read' }],
];

for (const [at, transport] of some([...TRANSPORTS.entries()], 3))
  describe(`not one file that can be read: ${transport}`, { skip: NEEDS_ROOT }, () => {
    let world: World;
    let other: OtherRsync;
    before(async () => {
      world = await World.make();
      if (transport === 'local') await enrollLocal(world);
      useTransport(world, transport);
      other = new OtherRsync(world); // LD_PRELOAD takes no path with a blank
      compileLibrary(FAILING_FILES, `${other.folder}/preload.so`);
      mkdirSync(join(world.data, 'folder'));
      mkdirSync(join(world.data, 'empty folder'));
      symlinkSync('nowhere', join(world.data, 'folder/a link'));
      for (const name of ['one', 'folder/two', 'folder/three'])
        world.write(world.client, join(world.data, name), `content of ${name}`);
    });
    after(async () => {
      await world.dispose();
      other[Symbol.dispose]();
    });

    async function backup(variables?: Record<string, string>): Promise<Result & { last: Done }> {
      const set = Object.entries({
        ...variables,
        FAILS_BELOW: world.data,
        LD_PRELOAD: `${other.folder}/preload.so`,
      });
      const words = set.map(([name, value]) => `export ${name}='${value}'`).join('; ');
      const script = [
        ...(variables ? [`case "$*" in *--daemon*) ${words} ;; esac`] : []),
        `exec ${other.real} "$@"`,
      ];
      const result = await other.run(other.write(script), ['backup', '--json', '--config', world.clientToml]);
      await world.settled();
      return { ...result, last: lastLine(result) };
    }
    const snapshots = (): string[] => readdirSync(join(shelfOf(world, transport), 'snapshots'));

    function requireFailure({ status, last, stderr }: Result & { last: Done }): void {
      assert.equal(status, 1, stderr + JSON.stringify(last));
      assert.equal(last.outcome, 'failed');
      assert.equal(last.snapshot, null);
      assert.match(last.error ?? '', says('not-one-file-of-roots'));
      const journal = readFileSync(join(shelfOf(world, transport), 'journal.jsonl'), 'utf8')
        .trim()
        .split('\n');
      assert.equal(JSON.parse(journal.findLast(line => line.includes('"code"')) ?? '{}').code, 'nothing');
    }

    for (const [what, variables] of some(FAILURES, 4, at + 3))
      it(`fails where files ${what}`, async () => {
        requireFailure(await backup(variables));
        assert.deepEqual(snapshots(), []);
      });

    itLong('fails where the one folder with files cannot be listed', async () => {
      chownSync(world.data, 0, 0);
      chmodSync(world.data, 0o700);
      try {
        requireFailure(await backup());
      } finally {
        world.own(world.client, world.data);
      }
      assert.deepEqual(snapshots(), []);
    });

    itLong('and fails where contents are compared', async () => {
      const toml = readFileSync(world.clientToml, 'utf8');
      world.write(world.client, world.clientToml, `${toml}checksum_every = "30d"\n`);
      requireFailure(await backup({}));
      useTransport(world, transport);
      assert.deepEqual(snapshots(), []);
    });

    it('leaves nothing that is taken for a backup: the next run has all of it', async () => {
      const { status, last, stderr } = await backup();
      assert.equal(status, 0, stderr);
      assert.equal(last.outcome, 'full');
      const tree = join(shelfOf(world, transport), 'snapshots', last.snapshot ?? '', 'tree', world.data);
      for (const name of ['one', 'folder/two', 'folder/three'])
        assert.equal(readFileSync(join(tree, name), 'utf8'), `content of ${name}`);
      assert.ok(existsSync(join(tree, 'empty folder')));
    });

    itLong('is no failure where nothing has changed since, or some files can be read', async () => {
      assert.equal((await backup({})).last.outcome, 'full', 'no file had to be opened');
      world.write(world.client, join(world.data, 'four'), 'content');
      assert.equal((await backup({})).last.outcome, 'incomplete');
      execFileSync('/bin/rm', [join(world.data, 'four')]);
    });
  });
