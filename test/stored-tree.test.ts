import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import { Fault } from '../src/fault.ts';
import { parseFound } from '../src/store/find-records.ts';
import { parseAttributes } from '../src/store/getfattr.ts';
import { listTree, readAttributes, readTree } from '../src/store/stored-tree.ts';

const good = <T>(parsed: { value: T } | { reason: string }): T => {
  assert.ok('value' in parsed, 'reason' in parsed ? parsed.reason : '');
  return parsed.value;
};
const isRefused = (parsed: object, what: string): void => assert.ok('reason' in parsed, what);
const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');
const path = fc.uint8Array({ maxLength: 300 }).map(each => Buffer.from(each.map(byte => byte || 1)));

describe('parseFound()', () => {
  it('reads a record, whatever the name has in it', () => {
    fc.assert(
      fc.property(path, fc.bigInt({ min: -(2n ** 62n), max: 2n ** 62n }), (name, mtimeNs) => {
        const nanoseconds = ((mtimeNs % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
        const time = `${(mtimeNs - nanoseconds) / 1_000_000_000n}.${String(nanoseconds).padStart(9, '0')}0`;
        const front = bytes(`18446744073709551615 2 4755 f 12 ${time} 1000:100 .${name.length ? '/' : ''}`);
        const found = good(parseFound(Buffer.concat([front, name])));
        assert.deepEqual(found, {
          path: name,
          inode: 2n ** 64n - 1n,
          links: 2,
          isFolder: false,
          mode: 0o4755,
          uid: 1000,
          gid: 100,
          size: 12,
          mtimeNs,
        });
      }),
    );
  });

  it('takes the nanoseconds before 1970 as find writes them: above the second below', () => {
    assert.equal(good(parseFound(bytes('1 1 644 f 0 -1.9999999990 0:0 ./x'))).mtimeNs, -1n);
    assert.equal(good(parseFound(bytes('1 1 644 f 0 -1.0000000000 0:0 ./x'))).mtimeNs, -1_000_000_000n);
  });

  it('refuses what find would not have printed', () => {
    for (const record of [
      '',
      '1 1 644 f 0 1.0000000000 0:0 x',
      '1 1 644 f 0 1.0000000000 0:0 /x',
      '1 1 644 f 0 1 0:0 ./x',
      '1 1 888 f 0 1.0000000000 0:0 ./x',
      '-1 1 644 f 0 1.0000000000 0:0 ./x',
      '1 1 644 f 1e3 1.0000000000 0:0 ./x',
      '1 1 644 f 0 1.0000000000 0 ./x',
    ])
      isRefused(parseFound(bytes(record)), record);
  });
});

describe('parseAttributes()', () => {
  const octal = (name: Buffer): string =>
    [...name]
      .map(byte =>
        [10, 13, 92, 61].includes(byte)
          ? `\\${byte.toString(8).padStart(3, '0')}`
          : String.fromCharCode(byte),
      )
      .join('');

  it('gives back what getfattr wrote, names of any bytes', () => {
    const xattr = fc.record(
      {
        name: fc.tuple(fc.constant(bytes('user.')), path).map(parts => Buffer.concat(parts)),
        value: fc.uint8Array({ maxLength: 40 }).map(each => Buffer.from(each)),
      },
      { noNullPrototype: true },
    );
    const file = fc.record({ path, xattrs: fc.array(xattr, { minLength: 1, maxLength: 4 }) });
    fc.assert(
      fc.property(fc.uniqueArray(file, { selector: each => each.path.toString('latin1') }), files => {
        const text = files.map(
          each =>
            `# file: ${octal(each.path)}\n${each.xattrs.map(({ name, value }) => `${octal(name)}=0x${value.toString('hex')}\n`).join('')}\n`,
        );
        const read = parseAttributes(bytes(text.join('')));
        assert.deepEqual(
          [...read],
          files.map(each => [each.path.toString('latin1'), each.xattrs]),
        );
      }),
    );
  });

  it('takes an attribute without a value, and passes over what is none', () => {
    const read = parseAttributes(bytes('# file: a\nuser.empty\nuser.bad=text\n=0x00\n\n'));
    assert.deepEqual(read.get('a'), [{ name: bytes('user.empty'), value: Buffer.alloc(0) }]);
  });
});

describe('listTree(), readAttributes() and readTree()', () => {
  const NAMES = [
    'a',
    'a/b',
    'a-b',
    'a.b',
    'new\nline',
    ' blank',
    '-rf',
    'ends in \\',
    '# file: x',
    'a=b',
    '\xff\xfe',
    'n'.repeat(255),
  ];
  let top: string;
  let tree: string;
  before(() => {
    top = mkdtempSync('/tmp/dialback test-');
    tree = join(top, 'a tree');
    for (const name of NAMES) {
      const at = Buffer.concat([Buffer.from(`${tree}/`), bytes(name)]);
      if (name === 'a') mkdirSync(at, { recursive: true });
      else writeFileSync(at, name === 'a-b' ? 'goal' : '');
    }
    const set = spawnSync('/usr/bin/setfattr', [
      '-n',
      'user.rsync.%stat',
      '-v',
      '120777 0,0 7:8',
      `${tree}/a-b`,
    ]);
    assert.equal(set.status, 0, String(set.stderr));
  });
  after(() => rmSync(top, { recursive: true, force: true }));
  const { signal } = new AbortController();
  const inOrder = (names: string[]): Buffer[] => names.map(bytes).sort(Buffer.compare);
  const paths = async (options: { paths?: Buffer[]; depth?: number }): Promise<Buffer[]> => {
    const found: Buffer[] = [];
    for await (const each of listTree(tree, { ...options, signal })) found.push(each.path);
    return found;
  };

  it('list every name once, in the order of the bytes', async () => {
    assert.deepEqual(await paths({}), inOrder(['', ...NAMES]));
    assert.deepEqual(await paths({ paths: ['a', 'a/b', 'a'].map(bytes) }), inOrder(['a', 'a/b']));
  });

  it('go as deep as they are told', async () => {
    assert.deepEqual(await paths({ depth: 0 }), [bytes('')]);
    assert.deepEqual(await paths({ depth: 1 }), inOrder(['', ...NAMES.filter(each => each !== 'a/b')]));
    assert.deepEqual(
      await paths({ paths: [bytes('-rf'), bytes('\xff\xfe')], depth: 0 }),
      inOrder(['-rf', '\xff\xfe']),
    );
  });

  it('read what is true of each, more than one batch too', async () => {
    mkdirSync(join(top, 'many'));
    for (let index = 0; index < 4500; index += 1) writeFileSync(join(top, 'many', String(index)), '');
    const seen: string[] = [];
    for await (const each of readTree(top, { signal })) {
      seen.push(each.path.toString('latin1'));
      if (each.path.equals(bytes('a tree/a-b')))
        assert.deepEqual([each.type, each.uid, each.gid, each.target], ['symlink', 7, 8, bytes('goal')]);
    }
    assert.equal(seen.length, 4500 + 1 + NAMES.length + 2);
    assert.equal(new Set(seen).size, seen.length);
    rmSync(join(top, 'many'), { recursive: true });
  });

  it('do not follow a link', async () => {
    const elsewhere = join(top, 'elsewhere');
    mkdirSync(elsewhere);
    symlinkSync('..', join(elsewhere, 'up'));
    const found: Buffer[] = [];
    for await (const each of listTree(elsewhere, { signal })) found.push(each.path);
    assert.deepEqual(found, inOrder(['', 'up']));
  });

  it('fail when a name is not there, and leave no program behind', async () => {
    await assert.rejects(paths({ paths: [bytes('none')] }), (error: unknown) => {
      assert.ok(error instanceof Fault);
      assert.match(error.found, /none.*No such file/);
      return true;
    });
    const [gone] = [...(await paths({ paths: [bytes('-rf')] }))];
    const stored = {
      path: bytes('none'),
      inode: 1n,
      links: 1,
      isFolder: false,
      mode: 0,
      uid: 0,
      gid: 0,
      size: 0,
      mtimeNs: 0n,
    };
    assert.ok(gone);
    await assert.rejects(readAttributes(tree, [stored], signal), /No such file/);
  });

  it('end when they are told, or when nobody asks for more', async () => {
    const controller = new AbortController();
    const endless = listTree('/', { signal: controller.signal });
    const first = endless.next();
    controller.abort(new Error('enough'));
    await assert.rejects(first, /enough/);
    for await (const _ of listTree(tree, { signal })) break;
    await new Promise(resolve => setImmediate(resolve));
    const children = readdirSync('/proc/self/task').flatMap(task =>
      spawnSync('/bin/cat', [`/proc/${process.pid}/task/${task}/children`])
        .stdout.toString()
        .trim()
        .split(' '),
    );
    const alive = children.filter(
      pid =>
        pid !== '' && /find|sort|xargs/.test(spawnSync('/bin/cat', [`/proc/${pid}/comm`]).stdout.toString()),
    );
    assert.deepEqual(alive, []);
  });
});
