import assert from 'node:assert/strict';
import { lstatSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { describe, it, type TestContext } from 'node:test';
import { digestFile, openPlain, readWhole } from '../src/os/content.ts';
import { exists, link, lstat, makeBareFolder, rename, setLinkTimes, unlink } from '../src/os/files.ts';
import { PATH_BYTES, reachBy } from '../src/os/long-path.ts';
import { makeDeep } from './support/long-path.ts';

const { signal } = new AbortController();

function makeTop(context: TestContext): string {
  const top = mkdtempSync(`${tmpdir()}/dialback long `);
  context.after(() => rmSync(top, { recursive: true, force: true }));
  return top;
}

const descriptors = (): number => readdirSync('/proc/self/fd').length;

describe('a path of any length', () => {
  it('calls with the path itself where the kernel takes it', () => {
    for (const path of ['/a', 'a/b', '', Buffer.from('/a'), `/${'x/'.repeat(2000)}`, 'ä'.repeat(2000)])
      assert.equal(
        reachBy({ enter: () => assert.fail(), leave: () => assert.fail() }, path, each => each),
        path,
      );
  });

  for (const depth of [16, 17, 33, 60])
    it(`reads and changes what lies ${depth} long names below`, async context => {
      const top = makeTop(context);
      const folder = `${top}/${makeDeep(top, depth, { f: 'content' })}`;
      const path = `${folder}f`;
      if (depth > 16) assert.ok(path.length > PATH_BYTES);
      const before = descriptors();
      assert.equal(lstat(path).size, 7);
      assert.equal(lstat(Buffer.from(path)).size, 7);
      assert.ok(exists(path));
      assert.ok(!exists(`${path}x`));
      assert.equal(readWhole(path, 100).toString(), 'content');
      assert.equal((await digestFile(path, signal)).size, 7);
      link(path, `${folder}g`);
      rename(`${folder}g`, `${top}/here`);
      assert.equal(lstatSync(`${top}/here`).nlink, 2);
      makeBareFolder(`${folder}d`);
      assert.ok(lstat(`${folder}d`).isDirectory());
      setLinkTimes(path, 1, 1);
      assert.equal(lstatSync(`${top}/here`).mtimeMs, 1000);
      unlink(path);
      assert.ok(!exists(path));
      assert.equal(descriptors(), before);
    });

  it('fails as the call would: not there, no folder, a name that is too long', context => {
    const top = makeTop(context);
    const folder = `${top}/${makeDeep(top, 20, { f: 'content' })}`;
    const before = descriptors();
    assert.throws(() => lstat(`${folder}x`), { code: 'ENOENT' });
    assert.throws(() => lstat(`${folder}f/x`), { code: 'ENOTDIR' });
    assert.throws(() => lstat(`${top}/x${folder.slice(top.length)}`), { code: 'ENOENT' });
    assert.throws(() => lstat(`${top}/${'x'.repeat(5000)}`), { code: 'ENAMETOOLONG' });
    assert.throws(() => lstat('x'.repeat(5000)), { code: 'ENAMETOOLONG' });
    assert.equal(descriptors(), before);
  });

  it('does not follow a link in the place of a file that must be none', context => {
    const top = makeTop(context);
    const folder = `${top}/${makeDeep(top, 20, {})}`;
    symlinkSync('/etc/passwd', `${top}/l`);
    rename(`${top}/l`, `${folder}l`);
    assert.throws(() => openPlain(Buffer.from(`${folder}l`)), { code: 'ELOOP' });
    assert.ok(readFileSync('/etc/passwd').length > 0);
  });
});
