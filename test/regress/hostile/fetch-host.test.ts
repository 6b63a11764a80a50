// Goal: whatever a hostile host offers and its rsync sends, `fetch` writes nothing outside of DIR: as root and as an ordinary account,
// in the jail and without it. Nothing of the host's text reaches the terminal as it is.
import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { OfferedEntry } from '../../../src/wire/fetch.ts';
import { fetchFiles } from '../../support/fetching.ts';
import { CHARACTER_DEVICE, type Entry, FILE, FOLDER, LINK } from '../../support/hostile-client.ts';
import { ANY_CODE, type HostileOffer, HostileOfferer } from '../../support/hostile-offerer.ts';
import { some } from '../../support/long.ts';
import { diffManifests, type Manifest, manifest } from '../../support/manifest.ts';
import { says } from '../../support/wording.ts';
import { NEEDS_ROOT, World } from '../../support/world.ts';

const SETUID = 0o104755;
const ESCAPES = '\x1b]0;evil\x07\u202eexe';

const listed = (path: string, more: Partial<OfferedEntry> = {}): OfferedEntry => ({
  ...{ path, type: 'file', mode: 0o644, uid: 0, gid: 0, size: 0, mtime: '0', device: null, target: null },
  ...{ acl: null, xattrs: [], sha256: null, damage: null, ...more },
});

for (const launcher of some([true, false], 2))
  for (const account of ['root', 'client'] as const)
    describe(`a hostile host and ${account}, ${launcher ? 'in the jail' : 'without a launcher'}`, {
      skip: NEEDS_ROOT,
    }, () => {
      let world: World;
      let host: HostileOfferer;
      let outside: string;
      let before_: Manifest;
      let number = 0;
      before(async () => {
        world = await World.make({ launcher });
        host = await HostileOfferer.make(world);
        outside = join(account === 'root' ? world.base : world.client.home, 'outside');
        mkdirSync(join(outside, 'folder'), { recursive: true });
        writeFileSync(join(outside, 'file'), 'mine');
        chmodSync(outside, 0o755);
        if (account === 'client')
          for (const name of ['', 'folder', 'file']) world.own(world.client, join(outside, name));
        before_ = manifest(outside);
      });
      after(async () => {
        await host.end();
        await world.dispose();
      });

      const attack = async (
        offer: HostileOffer,
      ): Promise<{ to: string; said: string; status: number | null }> => {
        host.offer = offer;
        number += 1;
        const to = join(account === 'root' ? world.base : world.client.home, `to ${number}`);
        const party = account === 'root' ? 'root' : world.client;
        const { status, stdout, stderr } = await fetchFiles(world, ANY_CODE, ['--to', to], party);
        assert.deepEqual(diffManifests(before_, manifest(outside)), []);
        assert.ok(!/[^\n\P{Cc}]|\p{Cf}/u.test(stdout + stderr), JSON.stringify(stdout + stderr));
        return { to, said: stdout + stderr, status };
      };

      it('an honest list of this kind arrives', async () => {
        const { to, said } = await attack({
          entries: [
            { name: 'd', mode: FOLDER },
            { name: 'd/pwned', mode: FILE },
          ],
        });
        assert.ok(existsSync(join(to, 'd/pwned')), said);
        rmSync(to, { recursive: true });
      });

      const link = (): Entry => ({ name: 'l', mode: LINK, target: outside });
      const attacks: [what: string, entries: () => Entry[]][] = [
        ['a symlink, then a file below it', () => [link(), { name: 'l/pwned', mode: FILE }]],
        [
          'a symlink, then its folder with another mode',
          () => [link(), { name: 'l', mode: 0o040777 }, { name: 'l/pwned', mode: FILE }],
        ],
        [
          'a symlink to a file, then that name as a file',
          () => [
            { ...link(), target: join(outside, 'file') },
            { name: 'l', mode: FILE },
          ],
        ],
        [
          'a folder, then that name as a symlink',
          () => [
            { name: 'd', mode: FOLDER },
            { name: 'd', mode: LINK, target: outside },
            { name: 'd/pwned', mode: FILE },
          ],
        ],
        ['an absolute name', () => [{ name: join(outside, 'pwned'), mode: FILE }]],
        ['an absolute folder', () => [{ name: outside, mode: 0o040777 }]],
        [
          'a name with ..',
          () => [
            { name: '../outside/pwned', mode: FILE },
            { name: 'd/../../outside/pwned', mode: FILE },
          ],
        ],
        [
          'a hard link through a symlink',
          () => [
            link(),
            { name: 'l/file', mode: FILE, linkTo: 'first' },
            { name: 'x', mode: FILE, linkTo: 1 },
          ],
        ],
        ['a setuid file behind a symlink', () => [link(), { name: 'l/pwned', mode: SETUID }]],
        ['a device behind a symlink', () => [link(), { name: 'l/pwned', mode: CHARACTER_DEVICE }]],
        ['an owner behind a symlink', () => [link(), { name: 'l/file', mode: FILE, uid: 12345, size: 4 }]],
        [
          'proc',
          () => [
            { name: 'l', mode: LINK, target: '/proc/self/root' },
            { name: `l${outside}/pwned`, mode: FILE },
          ],
        ],
        [
          'names with escapes',
          () => [
            { name: ESCAPES, mode: FILE },
            { name: `${ESCAPES}2`, mode: LINK, target: ESCAPES },
          ],
        ],
        [
          'one name twice',
          () => [
            { name: 'x', mode: FILE },
            { name: 'x', mode: FOLDER },
            { name: 'x', mode: FILE },
          ],
        ],
      ];
      for (const [what, entries] of some(attacks, 8, launcher ? 0 : 1))
        it(what, async () => {
          const { to } = await attack({ entries: entries() });
          assert.ok(!existsSync(join(outside, 'pwned')));
          rmSync(to, { recursive: true, force: true });
        });

      it('the second call, after a symlink has arrived in the first', async () => {
        host.offer = { entries: [link()] };
        const to = join(account === 'root' ? world.base : world.client.home, `to ${number + 1}`);
        // The first call is not confirmed, so the second one goes on there.
        await attack({
          entries: [link(), { name: 'x', mode: FILE, size: 10_000_000 }],
          rsync: async sender => {
            await sender.begin();
            await sender.list([link()]);
            await sender.serve(async () => {});
            throw new Error('the end');
          },
        });
        number -= 1;
        await attack({
          entries: [
            { name: 'l', mode: FOLDER },
            { name: 'l/pwned', mode: FILE },
          ],
        });
        assert.ok(existsSync(to));
        assert.ok(!existsSync(join(outside, 'pwned')));
      });

      const lists: [what: string, offer: HostileOffer, found: RegExp][] = [
        ['an entry with ..', { list: [listed('../outside/file')] }, /no acceptable "path"/],
        ['an absolute entry', { list: [listed('/etc/passwd')] }, /no acceptable "path"/],
        [
          'an entry that was not offered',
          { head: { paths: ['/home'] }, list: [listed('etc/passwd')] },
          says('outside-the-offer'),
        ],
        ['an offer of ..', { head: { paths: ['/../x'] } }, /no acceptable "paths"/],
        ['text that is no list', { list: [`${ESCAPES}\n`] }, says('it-is-not-json')],
        ['an unknown key', { list: ['{"path":"x","command":"rm -rf /"}\n'] }, /unknown key/],
      ];
      for (const [what, offer, found] of some(lists, 6))
        it(`a list with ${what} is refused, and nothing is written`, async () => {
          const { to, said, status } = await attack(offer);
          assert.equal(status, 13, said);
          assert.match(said, found);
          assert.ok(!existsSync(to));
        });

      it('leaves nothing of any attack elsewhere', () => {
        const found = readdirSync(world.base, { recursive: true, encoding: 'utf8' }).filter(
          name => /pwned/.test(name) && !/^(client\/)?to \d+\//.test(name),
        );
        assert.deepEqual(found, []);
      });
    });
