// Goal: a root can have any name, in the launcher's jail and without it, over either transport: rsync takes names with `*?[` for
// patterns. It comes back as it was, and what is beside it does not come. Where rsync must list folders for it, the snapshot says so.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { some } from '../../support/long.ts';
import { diffManifests, manifest } from '../../support/manifest.ts';
import { isOwnRsyncVulnerable } from '../../support/own-rsync.ts';
import { useTransport } from '../../support/transports.ts';
import { NEEDS_ROOT, World } from '../../support/world.ts';

/** Roots that are asked for as they are written. */
const WRITTEN = ['a*b', 'a?b', 'a[b', 'c]d', 'e\\f', 'x[!a]y', '[', '*', 'plain/g*h', 'ä[ö'];
/** Those that are asked for by a pattern; the last two since one of them matches the other. */
const BY_PATTERN = [
  'a[[:x:]]',
  'a\\b*c',
  'a\\[b',
  'a[b\\]c',
  '\\*',
  'a\\',
  'a\\]',
  'f[o]/plain',
  'f\\[o/g\\*h',
  'q[rs]',
  'qr',
];
/** Beside them, and matched by some of them if they are taken for patterns. */
const BESIDE = ['axb', 'a-b', 'xby', 'a\\xc', 'other', 'qs', 'fo/plain', 'plain/gh'];

describe('roots with wildcards and backslashes in their names', { skip: NEEDS_ROOT }, () => {
  let world: World;
  before(async () => {
    world = await World.make({ launcher: true });
    for (const name of [...WRITTEN, ...BY_PATTERN, ...BESIDE]) {
      mkdirSync(join(world.data, name), { recursive: true });
      writeFileSync(join(world.data, name, 'a file'), `content of ${name}`);
    }
    execFileSync('/bin/chown', ['-R', `${world.client.uid}:${world.client.gid}`, world.data]);
  });
  after(async () => {
    await world.dispose();
  });

  async function check(
    transport: 'direct' | 'channel',
    capability: 'confined' | 'none',
    names: string[],
    flags: string[],
  ): Promise<void> {
    const roots = names.map(name => JSON.stringify(join(world.data, name))).join(', ');
    useTransport(world, transport, `roots = [${roots}]`);
    const toml = readFileSync(world.clientToml, 'utf8');
    world.write(world.client, world.clientToml, `capability = "${capability}"\n${toml}`);
    const { status, last, stdout, stderr } = await world.backup();
    assert.equal(status, 0, stdout + stderr);
    assert.equal(last.outcome, 'full');
    const record = join(world.shelf, 'snapshots', last.snapshot ?? '', 'snapshot.json');
    const found = JSON.parse(readFileSync(record, 'utf8'));
    assert.equal(found.confined.send, capability === 'confined');
    // The runs differ in much more than a client's usual ones do, and flags.test.ts has the other one.
    assert.deepEqual(
      found.flags.filter((each: string) => each !== 'unusual' && !each.endsWith('-rsync-vulnerable')),
      flags,
    );
    // The restore gives back every root, and nothing beside them.
    const to = mkdtempSync(join(world.base, 'restored-'));
    const restored = await world.restore(to);
    assert.equal(restored.status, 0, restored.stderr);
    for (const name of names) {
      const [one, other] = [join(world.data, name), join(to, world.data, name)];
      assert.deepEqual(diffManifests(manifest(one), manifest(other)), [], name);
    }
    for (const name of BESIDE) assert.ok(!existsSync(join(to, world.data, name, 'a file')), name);
    const tops = new Set(names.map(name => name.split('/')[0]));
    assert.deepEqual(new Set(readdirSync(join(to, world.data))), tops);
    rmSync(to, { recursive: true });
  }

  for (const transport of some(['direct', 'channel'] as const, 2))
    for (const capability of some(['confined', 'none'] as const, 2)) {
      it(`come back, asked for as written: ${transport}, ${capability}`, async () => {
        // An old one opens each folder above a root.
        const flags = capability === 'confined' && isOwnRsyncVulnerable() ? ['client-lists-names'] : [];
        await check(transport, capability, WRITTEN, flags);
      });
      it(`come back, asked for by a pattern: ${transport}, ${capability}`, async () => {
        const flags = capability === 'confined' ? ['client-lists-names'] : [];
        await check(transport, capability, [...WRITTEN, ...BY_PATTERN], flags);
      });
    }
});
