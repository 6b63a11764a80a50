import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { Fault } from '../src/fault.ts';
import { openPlain, readWhole, sameContent } from '../src/os/content.ts';
import { openFifo, readFifo } from '../src/os/fifo.ts';
import { makeFolder, whatFailed } from '../src/os/files.ts';
import { appendJournal } from '../src/os/journal.ts';
import { placeFile, replaceFile, writeNew } from '../src/os/replace.ts';
import { readLineAlone } from '../src/os/streams.ts';
import { breachOf, findBreachOnTheWay, writableByOthers } from '../src/os/trust.ts';

const uid = process.getuid?.() ?? 0;
const withoutRoot = uid === 0 ? false : 'needs root to own files as another user';

function scratch(context: TestContext): string {
  const path = mkdtempSync(`${tmpdir()}/dialback files `);
  context.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

function fault(action: () => unknown): Fault {
  try {
    action();
  } catch (error) {
    assert.ok(error instanceof Fault, String(error));
    return error;
  }
  throw new Error('no fault');
}

function mkfifo(path: string): void {
  assert.equal(spawnSync('mkfifo', [path]).status, 0);
}

describe('readWhole()', () => {
  it('reads a file that has exactly as many bytes as it may, and refuses one more', t => {
    const top = scratch(t);
    writeFileSync(`${top}/a`, 'x'.repeat(100));
    assert.equal(readWhole(`${top}/a`, 100).length, 100);
    assert.equal(
      fault(() => readWhole(`${top}/a`, 99)).message,
      `Cannot read "${top}/a": it has 100 bytes, at most 99 are taken`,
    );
    writeFileSync(`${top}/empty`, '');
    assert.equal(readWhole(`${top}/empty`, 0).length, 0);
  });

  it('refuses at once what is no plain file', t => {
    const top = scratch(t);
    mkfifo(`${top}/fifo`);
    mkdirSync(`${top}/folder`);
    symlinkSync('fifo', `${top}/link`);
    for (const name of ['fifo', 'folder', 'link'])
      assert.equal(fault(() => readWhole(`${top}/${name}`, 10)).found, 'it is not a plain file', name);
    assert.equal(fault(() => readWhole('/dev/zero', 10)).found, 'it is not a plain file');
    assert.equal(fault(() => readWhole(`${top}/none`, 10)).found, 'there is no such file or folder');
    symlinkSync('loop', `${top}/loop`);
    assert.match(fault(() => readWhole(`${top}/loop`, 10)).found, /ELOOP/);
  });

  it('leaves no descriptor open, when it refuses', t => {
    const top = scratch(t);
    const count = (): number => readdirSync('/proc/self/fd').length;
    const before = count();
    for (let each = 0; each < 20; each += 1) {
      fault(() => readWhole(top, 10));
      fault(() => readWhole(`${top}/none`, 10));
    }
    assert.equal(count(), before);
  });
});

describe('openPlain() and sameContent()', () => {
  const MIB = 1024 * 1024;
  const { signal } = new AbortController();

  it('compare every byte, holes as zeros', async t => {
    const top = scratch(t);
    const write = (name: string, content: Buffer): Buffer => {
      writeFileSync(`${top}/${name}`, content);
      return Buffer.from(`${top}/${name}`);
    };
    for (const size of [0, 1, MIB - 1, MIB, MIB + 1, 3 * MIB]) {
      const content = Buffer.alloc(size, 'abc');
      const one = write('one', content);
      assert.equal(await sameContent(one, write('same', content), signal), true, `${size}`);
      assert.equal(await sameContent(one, write('longer', Buffer.alloc(size + 1, 'abc')), signal), false);
      for (const at of [0, size >> 1, size - 1].filter(each => each >= 0 && size > 0)) {
        const changed = Buffer.from(content);
        changed[at] = 0;
        assert.equal(await sameContent(one, write('changed', changed), signal), false, `${size} at ${at}`);
      }
    }
    write('hole', Buffer.alloc(0));
    truncateSync(`${top}/hole`, 2 * MIB);
    const zeros = write('zeros', Buffer.alloc(2 * MIB));
    assert.equal(await sameContent(Buffer.from(`${top}/hole`), zeros, signal), true);
  });

  it('follow no link, wait for no FIFO, and end when they are told', async t => {
    const top = scratch(t);
    writeFileSync(`${top}/file`, Buffer.alloc(3 * MIB));
    symlinkSync('file', `${top}/link`);
    mkfifo(`${top}/fifo`);
    const at = (name: string): Buffer => Buffer.from(`${top}/${name}`);
    assert.throws(() => openPlain(at('link')), /ELOOP/);
    assert.match(fault(() => openPlain(at('fifo'))).message, /not a plain file/);
    assert.match(fault(() => openPlain(at('.'))).message, /not a plain file/);
    await assert.rejects(sameContent(at('file'), at('link'), signal), /ELOOP/);
    const ended = AbortSignal.abort(new Error('enough'));
    await assert.rejects(sameContent(at('file'), at('file'), ended), /enough/);
    const open = readdirSync('/proc/self/fd').length;
    await assert.rejects(sameContent(at('file'), at('none'), signal), /ENOENT/);
    assert.equal(readdirSync('/proc/self/fd').length, open, 'nothing is left open');
  });
});

describe('writeNew()', () => {
  it('writes a private file, and refuses where there is one, or a link to nowhere', t => {
    const top = scratch(t);
    writeNew(`${top}/a`, 'x');
    assert.equal(statSync(`${top}/a`).mode & 0o777, 0o600);
    assert.match(fault(() => writeNew(`${top}/a`, 'y')).found, /EEXIST/);
    assert.equal(readFileSync(`${top}/a`, 'utf8'), 'x');
    symlinkSync(`${top}/elsewhere`, `${top}/link`);
    assert.match(fault(() => writeNew(`${top}/link`, 'y')).found, /EEXIST/);
    assert.ok(!existsSync(`${top}/elsewhere`));
  });
});

describe('replaceFile()', () => {
  it('makes a new inode with the mode it is told, and leaves nothing beside it', t => {
    const top = scratch(t);
    writeFileSync(`${top}/a`, 'old');
    linkSync(`${top}/a`, `${top}/b`);
    replaceFile(`${top}/a`, 'new', 0o644);
    assert.equal(readFileSync(`${top}/a`, 'utf8'), 'new');
    assert.equal(readFileSync(`${top}/b`, 'utf8'), 'old');
    assert.equal(statSync(`${top}/a`).mode & 0o777, 0o644);
    replaceFile(`${top}/a`, 'newer');
    assert.equal(statSync(`${top}/a`).mode & 0o777, 0o600);
    assert.deepEqual(readdirSync(top).sort(), ['a', 'b']);
  });

  it('removes what a killed one has left, and nothing else', t => {
    const top = scratch(t);
    const { pid } = spawnSync('/bin/true');
    const others = [`a.new-${process.ppid}`, 'a.new-', 'a.new-0', `a.new-${pid}x`, `b.new-${pid}`];
    for (const name of [...others, `a.new-${pid}`]) writeFileSync(`${top}/${name}`, '');
    replaceFile(`${top}/a`, 'new');
    assert.deepEqual(readdirSync(top).sort(), ['a', ...others].sort());
  });

  it('leaves the old file and nothing beside it, when it fails', t => {
    const top = scratch(t);
    mkdirSync(`${top}/folder/in`, { recursive: true });
    assert.match(fault(() => replaceFile(`${top}/folder`, 'x')).message, /^Cannot write ".*folder": /);
    assert.match(fault(() => replaceFile(`${top}/none/a`, 'x')).found, /no such file/);
    assert.deepEqual(readdirSync(top), ['folder']);
  });
});

describe('writableByOthers()', () => {
  it('names the first path, upwards, that others can write', t => {
    const top = scratch(t);
    mkdirSync(`${top}/a/b`, { recursive: true });
    writeFileSync(`${top}/a/b/file`, '');
    const file = `${top}/a/b/file`;
    const with_ = (path: string, mode: number, expected: RegExp | undefined): void => {
      const before = statSync(path).mode;
      chmodSync(path, mode);
      const found = writableByOthers(file, uid);
      if (expected) assert.match(found ?? 'nothing', expected);
      else assert.equal(found, undefined);
      chmodSync(path, before);
    };
    assert.equal(writableByOthers(file, uid), undefined);
    for (const mode of [0o602, 0o620, 0o622, 0o666, 0o1622])
      with_(file, mode, new RegExp(`file" can be written by others \\(mode ${mode.toString(8)}\\)`));
    for (const mode of [0o777, 0o775, 0o757]) with_(`${top}/a`, mode, /\/a" can be written by others/);
    with_(`${top}/a`, 0o1777, undefined); // as /tmp
    with_(`${top}/a`, 0o755, undefined);
    with_(file, 0o444, undefined);
  });

  it('looks at the folder itself even when it is sticky', t => {
    const top = scratch(t);
    chmodSync(top, 0o1777);
    assert.match(writableByOthers(top, uid) ?? '', /can be written by others/);
  });

  it('follows links to where the file really is', t => {
    const top = scratch(t);
    mkdirSync(`${top}/open`);
    writeFileSync(`${top}/open/file`, '');
    chmodSync(`${top}/open`, 0o777);
    symlinkSync(`${top}/open/file`, `${top}/link`);
    assert.match(writableByOthers(`${top}/link`, uid) ?? '', /open" can be written/);
  });

  it('names a path that belongs to another user', { skip: withoutRoot }, t => {
    const top = scratch(t);
    writeFileSync(`${top}/file`, '');
    chownSync(top, 12_345, 12_345);
    assert.equal(writableByOthers(`${top}/file`, 0), `"${top}" belongs to uid 12345`);
    assert.equal(writableByOthers(`${top}/file`, 12_345), undefined);
  });
});

describe('breachOf()', () => {
  const FOLDER = 0o040_000;
  const FILE = 0o100_000;
  const LINK = 0o120_000;
  const ask = (owner: number, uid: number, mode: number, isOnTheWay: boolean): boolean =>
    breachOf('/x', { uid, gid: 50, mode }, owner, isOnTheWay) !== undefined;

  it('refuses what belongs to neither the owner nor root, whatever it is', () => {
    for (const type of [FOLDER, FILE, LINK])
      for (const isOnTheWay of [true, false])
        for (const [owner, uid] of [
          [0, 1000],
          [1000, 1001],
          [1000, 65_534],
        ] as const)
          assert.ok(ask(owner, uid, type | 0o700, isOnTheWay));
  });

  it('refuses what its group or others can write', () => {
    for (const type of [FOLDER, FILE])
      for (const mode of [0o720, 0o702, 0o722, 0o777, 0o2775])
        for (const isOnTheWay of [true, false])
          assert.ok(ask(0, 0, type | mode, isOnTheWay), mode.toString(8));
  });

  it('takes a sticky folder on the way, and nowhere else', () => {
    assert.ok(!ask(0, 0, FOLDER | 0o1777, true));
    assert.ok(!ask(1000, 0, FOLDER | 0o1777, true));
    assert.ok(ask(0, 0, FOLDER | 0o1777, false));
    assert.ok(ask(0, 0, FILE | 0o1777, true));
    assert.ok(ask(0, 1000, FOLDER | 0o1777, true));
  });

  it('takes what only the owner and root can change', () => {
    for (const [owner, uid] of [
      [0, 0],
      [1000, 0],
      [1000, 1000],
    ] as const)
      for (const isOnTheWay of [true, false]) {
        assert.ok(!ask(owner, uid, FOLDER | 0o755, isOnTheWay));
        assert.ok(!ask(owner, uid, FILE | 0o4755, isOnTheWay));
        assert.ok(!ask(owner, uid, LINK | 0o777, isOnTheWay)); // every link has this mode
      }
  });
});

describe('breachOf() with a private group', () => {
  it('lets that group write, and no other', () => {
    const ask = (gid: number, mode: number): boolean =>
      breachOf('/x', { uid: 1000, gid, mode: 0o040_000 | mode }, 1000, false, 1000) !== undefined;
    assert.ok(!ask(1000, 0o775));
    assert.ok(ask(1001, 0o775));
    assert.ok(ask(1000, 0o777));
    assert.ok(ask(1000, 0o757));
  });
});

describe('findBreachOnTheWay()', () => {
  it('looks at every folder and link that the path goes by', { skip: withoutRoot }, t => {
    const top = scratch(t);
    const theirs = `${top}/theirs`;
    for (const path of [`${top}/own/deep`, `${theirs}/inside`]) mkdirSync(path, { recursive: true });
    symlinkSync('../theirs/inside', `${top}/own/there`);
    symlinkSync(`${top}/own/deep`, `${theirs}/back`);
    symlinkSync('own', `${top}/link`);
    symlinkSync('circle', `${top}/circle`);
    chownSync(theirs, 12_345, 12_345);
    const ask = (path: string, isParent = false): string | undefined =>
      findBreachOnTheWay(path, 0, { isParent })?.at;
    assert.equal(ask(`${top}/own/deep`), undefined);
    assert.equal(ask(`${top}/link/deep/../deep/.`), undefined);
    for (const path of [theirs, `${theirs}/inside`, `${top}/own/there`, `${theirs}/back`, `${theirs}/../own`])
      assert.equal(ask(path), theirs, path);
    assert.equal(ask(`${top}/circle`), `${top}/circle`);
    chmodSync(`${top}/own`, 0o1777);
    assert.equal(ask(`${top}/own/deep`), undefined);
    assert.equal(ask(`${top}/own`), `${top}/own`);
    assert.equal(ask(`${top}/own`, true), undefined);
    chmodSync(`${top}/own`, 0o777);
    assert.equal(ask(`${top}/own/deep`), `${top}/own`);
    assert.throws(() => ask(`${top}/nothing`), { code: 'ENOENT' });
  });
});

describe('openFifo() and readFifo()', () => {
  it('make a pipe without a name, and read one to its end', async t => {
    const top = scratch(t);
    mkfifo(`${top}/a`);
    const { reading, writing } = openFifo(`${top}/a`);
    assert.ok(!existsSync(`${top}/a`));
    writeSync(writing, 'hello');
    closeSync(writing);
    const bytes = Buffer.alloc(10);
    assert.equal(readSync(reading, bytes), 5);
    assert.equal(readSync(reading, bytes), 0);
    closeSync(reading);

    mkfifo(`${top}/b`);
    const { content } = readFifo(`${top}/b`, 100);
    const end = openSync(`${top}/b`, 'w');
    writeSync(end, 'x'.repeat(100));
    closeSync(end);
    assert.equal((await content).toString(), 'x'.repeat(100));
  });

  it('refuse more than the limit, and end when they are closed', async t => {
    const top = scratch(t);
    mkfifo(`${top}/a`);
    const first = readFifo(`${top}/a`, 10);
    const end = openSync(`${top}/a`, 'w');
    writeSync(end, 'x'.repeat(11));
    await assert.rejects(first.content, /more than 10 bytes/);
    closeSync(end);
    const second = readFifo(`${top}/a`, 10);
    second.close(); // nothing hangs on it
  });
});

describe('readLineAlone()', () => {
  /** A pipe with this in it; its writing end is closed unless it is kept. */
  function pipeWith(t: TestContext, text: string | Buffer, keepsOpen = false): { reading: number } {
    const top = scratch(t);
    mkfifo(`${top}/a`);
    const { reading, writing } = openFifo(`${top}/a`);
    t.after(() => closeSync(reading));
    writeSync(writing, Buffer.from(text as string));
    if (keepsOpen) t.after(() => closeSync(writing));
    else closeSync(writing);
    return { reading };
  }
  const rest = (descriptor: number): string => {
    const bytes = Buffer.alloc(100);
    return bytes.toString('latin1', 0, readSync(descriptor, bytes));
  };

  it('reads one line, and not a byte of what follows', async t => {
    const { reading } = pipeWith(t, 'first\nsecond\nthird');
    assert.equal(await readLineAlone(reading, 100), 'first');
    assert.equal(await readLineAlone(reading, 100), 'second');
    assert.equal(rest(reading), 'third');
  });

  it('reads an empty line, and does not wait for what may follow', async t => {
    const { reading } = pipeWith(t, '\n', true);
    assert.equal(await readLineAlone(reading, 100), '');
  });

  it('has each byte as one character', async t => {
    const { reading } = pipeWith(t, Buffer.from('61ff00c3a90d0a62', 'hex'));
    assert.equal(await readLineAlone(reading, 100), 'a\u00ff\0\u00c3\u00a9\r');
    assert.equal(rest(reading), 'b');
  });

  it('takes a line that is as long as it may be, and none that is longer', async t => {
    const { reading } = pipeWith(t, `${'x'.repeat(10)}\n${'y'.repeat(11)}\nz`, true);
    assert.equal(await readLineAlone(reading, 10), 'x'.repeat(10));
    assert.equal(await readLineAlone(reading, 10), undefined);
    // Not read on to the end of it.
    assert.equal(rest(reading), '\nz');
  });

  it('is undefined when the end comes first', async t => {
    for (const text of ['', 'go']) {
      const { reading } = pipeWith(t, text);
      assert.equal(await readLineAlone(reading, 100), undefined, JSON.stringify(text));
    }
  });

  it('waits for the rest of a line without holding up anything else', async t => {
    const top = scratch(t);
    mkfifo(`${top}/a`);
    const { reading, writing } = openFifo(`${top}/a`);
    t.after(() => closeSync(reading));
    const line = readLineAlone(reading, 100);
    for (const text of ['g', 'o', '\n']) {
      await new Promise(resolve => setImmediate(resolve));
      writeSync(writing, text);
    }
    closeSync(writing);
    assert.equal(await line, 'go');
  });

  it('fails with what is no open descriptor', async () => {
    await assert.rejects(readLineAlone(1_000_000, 10), { code: 'EBADF' });
  });
});

describe('appendJournal()', () => {
  it('appends whole lines to a private file, and moves a full one aside', t => {
    const top = scratch(t);
    const path = `${top}/journal.jsonl`;
    appendJournal(path, { event: 'a\nb' });
    appendJournal(path, { event: 'c' });
    assert.deepEqual(readFileSync(path, 'utf8'), '{"event":"a\\nb"}\n{"event":"c"}\n');
    assert.equal(statSync(path).mode & 0o777, 0o600);
    writeFileSync(path, 'x'.repeat(4 * 1024 * 1024 + 1));
    appendJournal(path, { event: 'd' });
    assert.equal(readFileSync(path, 'utf8'), '{"event":"d"}\n');
    assert.equal(statSync(`${path}.1`).size, 4 * 1024 * 1024 + 1);
  });
});

describe('makeFolder()', () => {
  it('makes a private folder, leaves one that is there, and says why it cannot', t => {
    const top = scratch(t);
    makeFolder(`${top}/a`);
    assert.equal(statSync(`${top}/a`).mode & 0o777, 0o700);
    chmodSync(`${top}/a`, 0o750);
    makeFolder(`${top}/a`);
    assert.equal(statSync(`${top}/a`).mode & 0o777, 0o750);
    assert.match(
      fault(() => makeFolder(`${top}/x/y`)).message,
      /^Cannot create the folder ".*": there is no such file or folder$/,
    );
    makeFolder(`${top}/x/y`, { parents: true });
    assert.equal(statSync(`${top}/x`).mode & 0o777, 0o700);
  });

  it('gives up where no folder can be made, with the parents too', () => {
    for (const path of ['/proc/x', '/proc/x/y/z'])
      assert.match(
        fault(() => makeFolder(path, { parents: true })).message,
        /^Cannot create the folder "\/proc\/x": there is no such file or folder$/,
      );
  });
});

describe('placeFile()', () => {
  it('puts a private file into place, over what a killed one left and whatever the umask', t => {
    const path = `${scratch(t)}/file`;
    writeFileSync(`${path}.new`, 'half');
    placeFile(path, 'content');
    assert.equal(readFileSync(path, 'utf8'), 'content');
    assert.equal(statSync(path).mode & 0o777, 0o600);
    assert.deepEqual(readdirSync(dirname(path)), ['file']);
  });

  it('leaves what is there as it is, a link to nowhere too', t => {
    const top = scratch(t);
    writeFileSync(`${top}/file`, 'old');
    symlinkSync('nowhere', `${top}/link`);
    for (const name of ['file', 'link'])
      assert.match(fault(() => placeFile(`${top}/${name}`, 'new')).message, /": it is there already$/);
    assert.equal(readFileSync(`${top}/file`, 'utf8'), 'old');
    assert.deepEqual(readdirSync(top).sort(), ['file', 'link']);
  });

  it('says why it cannot', t => {
    const path = `${scratch(t)}/none/file`;
    const { message } = fault(() => placeFile(path, 'new'));
    assert.equal(message, `Cannot write "${path}": there is no such file or folder`);
  });
});

describe('whatFailed()', () => {
  it('says it in words, without the path that Node adds', () => {
    const error = (code: string): Error =>
      Object.assign(new Error(`${code}: some words, open '/x'`), { code });
    assert.equal(whatFailed(error('ENOENT')), 'there is no such file or folder');
    assert.equal(whatFailed(error('EACCES')), 'permission denied');
    assert.equal(whatFailed(error('EMFILE')), 'EMFILE: some words');
    assert.equal(whatFailed('x'), 'x');
  });
});
