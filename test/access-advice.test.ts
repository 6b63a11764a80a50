import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fixCommand } from '../src/os/access-advice.ts';
import { matching, says } from './support/wording.ts';

describe('fixCommand()', () => {
  it('closes what is open, gives back a file, and leaves the folders of others alone', t => {
    const owner = { name: 'root', uid: process.getuid?.() ?? 0 };
    const breach = (at: string, isForeign: boolean) => ({ at, found: '', isForeign });
    assert.equal(fixCommand(breach("/a b'c", false), '/x', owner), `chmod go-w '/a b'\\''c'`);
    const folder = realpathSync(mkdtempSync(join(tmpdir(), 'dialback-mend-')));
    t.after(() => rmSync(folder, { recursive: true }));
    const path = join(folder, 'file');
    writeFileSync(path, '');
    assert.equal(fixCommand(breach(path, true), path, owner), `chown root '${path}'`);
    assert.match(
      fixCommand(breach(folder, true), path, owner),
      matching`^move '.*file' ${says('to-a-folder-that-only')}`,
    );
    chmodSync(folder, 0o777);
    assert.equal(fixCommand(breach(path, true), path, owner, 'make install'), 'make install');
  });
});
