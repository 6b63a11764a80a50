import assert from 'node:assert/strict';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import { dpkg } from '../src/client/dpkg.ts';
import { collectRebuild } from '../src/client/package-rebuild.ts';
import { DebianSystem, NEEDS_DPKG } from './support/debian-system.ts';
import { scratch } from './support/scratch.ts';

describe('collectRebuild()', { skip: NEEDS_DPKG }, () => {
  it('copies files of the system in a folder, and none of this machine', async context => {
    const base = scratch(context);
    const outside = join(base, 'outside');
    mkdirSync(outside);
    writeFileSync(join(outside, 'private'), '# of this machine\n');
    const system = new DebianSystem(join(base, 'other'));
    system.install({ name: 'tool', files: { '/usr/bin/tool': 'a program' } });
    system.offer('tool');
    const write = (path: string, content: string): void => {
      mkdirSync(dirname(system.path(path)), { recursive: true });
      writeFileSync(system.path(path), content);
    };
    const source = (name: string, key: string): string =>
      `Types: deb\nURIs: http://${name}.example.org/\nSuites: stable\nComponents: main\nSigned-By: ${key}\n\n`;
    const sources = source('own', '/usr/share/keyrings/own.gpg') + source('other', '/etc/linked');
    write('etc/apt/sources.list.d/own.sources', sources);
    write('usr/share/keyrings/own.gpg', 'a key');
    write('etc/apt/trusted.gpg.d/plain.gpg', 'another key');
    const links = {
      'etc/apt/trusted.gpg.d/own.gpg': '/usr/share/keyrings/own.gpg',
      'etc/apt/trusted.gpg.d/private.gpg': join(outside, 'private'),
      'etc/apt/preferences': join(outside, 'private'),
      'etc/apt/keyrings': outside,
      'etc/linked': join(outside, 'private'),
    };
    for (const [name, target] of Object.entries(links)) symlinkSync(target, system.path(name));
    const signal = new AbortController().signal;
    const at = { system: system.folder, database: system.path('var/lib/dpkg/status') };
    const database = await dpkg.read(at, signal, { policy: false });
    const { files, unreadable } = await collectRebuild(dpkg, database, at);
    assert.deepEqual(unreadable, []);
    assert.deepEqual([...files.keys()].filter(each => each.startsWith('files/')).sort(), [
      'files/etc/apt/sources.list',
      'files/etc/apt/sources.list.d/own.sources',
      'files/etc/apt/trusted.gpg.d/own.gpg',
      'files/etc/apt/trusted.gpg.d/plain.gpg',
      'files/usr/share/keyrings/own.gpg',
    ]);
    assert.equal(String(files.get('files/etc/apt/trusted.gpg.d/own.gpg')), 'a key');
  });
});
