import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { commandsOf } from './support/document.ts';

const TEXT = `# A document

## One

\`\`\`console
root@rescue:~# first
output of it
\`\`\`

### Inner

\`\`\`console
anna@laptop:~/docs$ echo '# Two'
\`\`\`

    root@rescue:~# not a block

\`\`\`
root@rescue:~# another language
\`\`\`

## Two

No command.
`;

describe('commandsOf()', () => {
  it('finds the commands of a part with those of its own parts, and no others', () => {
    assert.deepEqual(commandsOf(TEXT, 'One'), [
      { user: 'root', at: 'rescue', command: 'first' },
      { user: 'anna', at: 'laptop', command: "echo '# Two'" },
    ]);
    assert.deepEqual(commandsOf(TEXT, 'Inner'), [{ user: 'anna', at: 'laptop', command: "echo '# Two'" }]);
  });

  it('fails when there is none', () => {
    assert.throws(() => commandsOf(TEXT, 'Two'), /Cannot find a command below "Two"/);
    assert.throws(() => commandsOf(TEXT, 'Three'), /Cannot find the heading "Three"/);
  });
});

describe('docs/recover.md', () => {
  const text = readFileSync(join(import.meta.dirname, '../docs/recover.md'), 'utf8');

  it('has its commands in blocks of the machine where they run, so that a test follows them', () => {
    const machines = new Set(commandsOf(text, 'A machine from nothing').map(each => each.at));
    assert.deepEqual([...machines].sort(), ['backup', 'laptop', 'rescue']);
    for (const word of ['sfdisk', 'mkfs.ext4', 'mount', 'grub-install', 'update-grub', 'umount'])
      assert.match(text, new RegExp(`^root@rescue:~# .*${word}`, 'm'), word);
  });
});
