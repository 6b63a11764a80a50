/** Kills of all that takes part in a fetch. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { offer, offerState } from './fetching.ts';
import { diffManifests, type Manifest, manifest } from './manifest.ts';
import { type Found, NEEDS_ROOT, until, World } from './world.ts';

const VICTIMS: [what: string, pattern: RegExp][] = [
  ["the client's dialback", /dialback fetch /],
  ["the client's rsync", /^\/?\S*(?:rsync|jail fetch) .*-aHAXS/],
  ["the client's ssh", /^\/usr\/bin\/ssh -F none -T -E /],
  ["the host's grab", /dialback grab --client /],
  ["the host's rsync", /rsync --server --daemon --config=/],
];

const SIZE = 48 * 1024 * 1024;

/** Content that does not repeat. */
function content(seed: string): Buffer {
  return createHash('shake256', { outputLength: SIZE }).update(seed).digest();
}

export function fetchKillsSuite(title: string, times: number): void {
  describe(title, { skip: NEEDS_ROOT }, () => {
    let world: World;
    let whole: Manifest;
    let killed = 0;
    const old = content('old');
    const fresh = content('new');
    before(async () => {
      world = await World.make({ launcher: true });
      for (let index = 0; index < 60; index += 1)
        world.write(world.client, join(world.data, `file ${index}`), `${index}`, 0o644);
      world.write(world.client, join(world.data, 'large'), fresh, 0o644);
      assert.equal((await world.backup()).status, 0);
      whole = manifest(world.data);
    });
    after(async () => {
      await world.dispose();
    });

    const sha = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
    const [oldSum, freshSum] = [sha(old), sha(fresh)];
    const here = (pattern: RegExp): Found | undefined =>
      world.processes().find(each => pattern.test(each.command));

    for (let round = 0; round < times; round += 1) {
      const [what, pattern] = VICTIMS[round % VICTIMS.length] ?? ['', /^$/];
      const isInPlace = Math.floor(round / VICTIMS.length) % 2 === 0;
      it(`${round + 1}: SIGKILL of ${what}, ${isInPlace ? 'in place' : 'into a folder'}`, async () => {
        const { id, code } = await offer(world);
        const to = join(world.client.home, `to ${round}`);
        if (isInPlace) {
          writeFileSync(join(world.data, 'large'), old);
          rmSync(join(world.data, 'file 7'));
        }
        const words = [
          'fetch',
          code,
          '--config',
          world.clientToml,
          ...(isInPlace ? ['--in-place'] : ['--to', to]),
        ];
        const running = world.start(world.client, world.binary, words, { detached: true });
        let isOver = false;
        void running.done.then(() => {
          isOver = true;
        });
        const base = isInPlace ? world.data : join(to, world.data);
        const writes = (): boolean => {
          try {
            return readdirSync(base).some(name => /^\.large\./.test(name));
          } catch {
            return false;
          }
        };
        // Every other time while the large file arrives, else as soon as the process is there.
        if (round % 2 === 0) await until('the large file arrives', () => isOver || writes());
        await until(`${what} is there`, () => isOver || here(pattern) !== undefined);
        const target = here(pattern);
        if (target) process.kill(target.pid, 'SIGKILL');
        const first = await running.done;
        await until('all has ended', () => world.processes().length === 0, 20_000);
        if (isInPlace) {
          const sum = sha(readFileSync(join(world.data, 'large')));
          assert.ok([oldSum, freshSum].includes(sum), 'the large file is half replaced');
        }
        if (first.status === 0) return; // it was over before
        killed += 1;
        assert.equal(await offerState(world, id), 'open');
        const again = await world.run(world.client, words);
        assert.equal(again.status, 0, `${first.stderr}${again.stderr}`);
        assert.deepEqual(diffManifests(whole, manifest(base)), []);
        assert.equal(await offerState(world, id), 'used');
        rmSync(to, { recursive: true, force: true });
        rmSync(join(world.clientState, 'replaced'), { recursive: true, force: true });
      });
    }

    it('were mostly killed in time', () => assert.ok(killed >= times / 2, `${killed} of ${times}`));
  });
}
