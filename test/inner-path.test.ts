import assert from 'node:assert/strict';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { InnerPaths } from '../src/client/inner-path.ts';
import { scratch } from './support/scratch.ts';

describe('InnerPaths', () => {
  it('follows links of folders inside of the system, and never to a folder outside', context => {
    const system = scratch(context);
    mkdirSync(`${system}/usr/lib/deep`, { recursive: true });
    mkdirSync(`${system}/srv`);
    writeFileSync(`${system}/usr/lib/file`, '');
    const links = {
      lib: 'usr/lib',
      lib64: '/usr/lib',
      'usr/up': '../srv',
      'usr/far': '../../../../../../../srv',
      loop: 'loop',
      around: 'usr/lib/../../srv',
      dangling: '/nowhere',
      'to-file': 'usr/lib/file',
    };
    for (const [name, target] of Object.entries(links)) symlinkSync(target, `${system}/${name}`);
    const inner = new InnerPaths(system);
    const places: [path: string, place: string | undefined][] = [
      ['/lib/x', '/usr/lib/x'],
      ['/lib64/deep/x', '/usr/lib/deep/x'],
      ['/lib', '/lib'],
      ['/usr/up/x', '/srv/x'],
      ['/usr/far/x', '/srv/x'],
      ['/loop/x', undefined],
      ['/around/x', undefined],
      ['/dangling/x', undefined],
      ['/to-file/x', undefined],
      ['/absent/x', undefined],
      ['/x', '/x'],
    ];
    for (const [path, place] of places) assert.equal(inner.place(path), place, path);
    const realPlaces: [path: string, place: string | undefined][] = [
      ['/to-file', '/usr/lib/file'],
      ['/lib64/file', '/usr/lib/file'],
      ['/usr/lib/absent', '/usr/lib/absent'],
      ['/dangling', '/nowhere'],
      ['/usr/far', '/srv'],
      ['/', '/'],
      ['/loop', undefined],
      ['/around', undefined],
      ['/to-file/x', undefined],
    ];
    for (const [path, place] of realPlaces) assert.equal(inner.realPlace(path), place, path);
    assert.ok(inner.isFolder('/lib64'));
    assert.ok(!inner.isFolder('/to-file'));
    assert.equal(String(inner.outside('/a')), `${system}/a`);
    assert.equal(String(new InnerPaths('/').outside('/a')), '/a');
  });
});
