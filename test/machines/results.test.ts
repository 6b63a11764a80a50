import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { type Row, writeResults } from './results.ts';

describe('writeResults()', () => {
  let folder: string;
  let file: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'dialback-results-'));
    file = join(folder, 'versions.md');
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const row = (machine: string, failed: string[] = []): Row => ({
    machine,
    facts: { kernel: '6.1.0-1', landlock: '', systemd: '252', rsync: '3.5.0', openssh: '9.2p1' },
    check: async () => true,
    ran: ['backup', 'a | b'],
    failed,
  });
  const rows = (): string[] => readFileSync(file, 'utf8').match(/^\| .* \| 20\d\d-.*$/gm) ?? [];
  const day = (text: string): Date => new Date(`${text}T12:00:00Z`);

  it('makes the file when there is none', () => {
    writeResults(file, [row('bookworm')], day('2026-11-29'));
    assert.deepEqual(rows(), [
      '| bookworm | 2026-11-29 | 6.1.0-1 | - | 252 | 3.5.0 | 9.2p1 | backup; a / b | passed |',
    ]);
  });

  it('replaces a row when its machine ran again, and keeps the others and the text around the section', () => {
    writeFileSync(file, '# Before\n');
    writeResults(file, [row('bookworm'), row('trixie')], day('2026-11-29'));
    writeFileSync(file, `${readFileSync(file, 'utf8')}## After\n`);
    writeResults(file, [row('bookworm', ['backup'])], day('2026-11-30'));
    const [bookworm = '', trixie = '', ...more] = rows();
    assert.match(bookworm, /^\| bookworm \| 2026-11-30 \|.* \| failed: backup \|$/);
    assert.match(trixie, /^\| trixie \| 2026-11-29 \|/);
    assert.deepEqual(more, []);
    const text = readFileSync(file, 'utf8');
    assert.match(text, /^# Before\n/);
    assert.match(text, /\n## After\n$/);
    assert.equal(text.match(/^## Emulated machines$/gm)?.length, 1);
  });

  it('writes nothing new when the same rows are written again', () => {
    writeResults(file, [row('bookworm')], day('2026-11-29'));
    const text = readFileSync(file, 'utf8');
    writeResults(file, [row('bookworm')], day('2026-11-29'));
    assert.equal(readFileSync(file, 'utf8'), text);
  });
});
