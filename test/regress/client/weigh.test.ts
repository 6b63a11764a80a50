// Goal: `weigh` shows the sizes that a backup would read. The jail and the filter are those of a backup, du(1) counts the same, root-only
// files are included, and no content is read.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { itLong, itShort } from '../../support/long.ts';
import { plantTortureTree } from '../../support/torture-world.ts';
import { matching, says } from '../../support/wording.ts';
import { NEEDS_ROOT, type Result, World } from '../../support/world.ts';

type Name = string | { base64: string };
interface Row {
  path: Name;
  type: string;
  bytes: number;
  files: number;
  left_out_bytes: number;
  fate: string;
  in_no_package: boolean | null;
  cache: string | null;
}
interface Weighed {
  bytes: number;
  files: number;
  left_out_bytes: number;
  folders: Row[];
  biggest_files: Row[];
  left_out: Row[];
  candidates: Row[];
  never: Name[];
  unread: Name[];
  unread_count: number;
}

/** The sum of a folder in ncdu's format. */
function sumOf([, ...entries]: unknown[]): number {
  return entries
    .map(each => (Array.isArray(each) ? sumOf(each) : ((each as { asize?: number }).asize ?? 0)))
    .reduce((sum, bytes) => sum + bytes, 0);
}

describe('weigh', { skip: NEEDS_ROOT }, () => {
  let world: World;
  let scratch: string;

  before(async () => {
    world = await World.make({ launcher: true, isSetUp: false });
    scratch = join(world.base, 'scratch');
  });
  after(async () => {
    await world.dispose();
  });

  const weigh = async (...args: string[]): Promise<Result> =>
    await world.run(world.client, ['weigh', '--config', world.clientToml, ...args]);
  const weighJson = async (...args: string[]): Promise<Weighed> => {
    const { status, stdout, stderr } = await weigh('--json', ...args);
    assert.equal(status, 0, stderr);
    return JSON.parse(stdout) as Weighed;
  };
  const rowOf = (rows: Row[], path: string): Row => {
    const row = rows.find(each => each.path === path);
    assert.ok(row, `${path} in ${JSON.stringify(rows.map(each => each.path))}`);
    return row;
  };

  /** The sum that du(1) has for plain files and links, as root. */
  function du(folder: string): number {
    const found = execFileSync('find', [folder, '(', '-type', 'f', '-o', '-type', 'l', ')', '-print0'], {
      maxBuffer: 2 ** 30,
    });
    const options = ['--apparent-size', '-B1', '-c', '-s', '--files0-from=-'];
    const sums = execFileSync('du', options, { input: found, maxBuffer: 2 ** 30 }).toString('latin1');
    return Number(/(\d+)\ttotal\n$/.exec(sums)?.[1]);
  }
  const within1Percent = (found: number, real: number): void =>
    assert.ok(Math.abs(found - real) <= real / 100, `${found} and not ${real}`);

  itLong('equals du on the torture tree and on a part of /usr', async () => {
    plantTortureTree(world);
    world.configure();
    const torture = await weighJson();
    within1Percent(torture.bytes, du(world.data));
    world.configure({ scope: 'roots = ["/usr"]' });
    // The lists of packages have its old name, /bin.
    const bin = await weighJson('/usr/bin', '--top', '9999');
    assert.equal(bin.bytes, du('/usr/bin'));
    assert.equal(rowOf(bin.biggest_files, '/usr/bin/tar').in_no_package, false);
    assert.ok(torture.biggest_files.every(each => each.in_no_package === true));
  });

  it('sees root-only files, counts hard links once, and marks what is left out', async () => {
    const secret = 'private content, 7f3a';
    for (const each of ['', 'root only', 'cache', 'kept back', 'no user', 'node_modules']) {
      mkdirSync(join(scratch, each), { recursive: true, mode: 0o755 });
    }
    writeFileSync(join(scratch, 'root only/file'), secret);
    truncateSync(join(scratch, 'root only/file'), 5_000_000);
    chmodSync(join(scratch, 'root only'), 0o700);
    linkSync(join(scratch, 'root only/file'), join(scratch, 'root only/twin'));
    for (const [name, size] of [
      ['cache/a', 3_000_000],
      ['kept back/b', 1000],
      ['node_modules/c', 2_000_000],
      ['big', 9_000_000],
    ] as const) {
      writeFileSync(join(scratch, name), secret);
      truncateSync(join(scratch, name), size);
    }
    symlinkSync('big', join(scratch, 'link'));
    writeFileSync(join(scratch, '\x1b[31m\n<b>&'), 'x');
    const scope = `roots = ["${scratch}"]\nexclude = ["/**/cache/"]\nnever = ["${scratch}/kept back"]`;
    world.configure({ scope, limits: 'max_size = "8M"' });
    const found = await weighJson();
    assert.equal(found.bytes, 7_000_000 + 'big'.length + 1);
    assert.equal(found.left_out_bytes, 3_000_000 + 9_000_000);
    assert.deepEqual(found.never, [join(scratch, 'kept back')]);
    const root = rowOf(found.folders, join(scratch, 'root only'));
    assert.deepEqual([root.bytes, root.files], [5_000_000, 2]);
    assert.deepEqual(
      found.left_out.map(each => [each.path, each.fate, each.bytes]),
      [
        [join(scratch, 'big'), 'oversized', 9_000_000],
        [join(scratch, 'cache'), 'excluded', 3_000_000],
      ],
    );
    const saved = rowOf(found.candidates, join(scratch, 'node_modules'));
    assert.deepEqual([saved.bytes, found.candidates.length], [2_000_000, 1]);
    const text = await weigh();
    assert.equal(text.status, 0, text.stderr);
    for (const each of ['root only/', 'kept back', 'max_size', 'exclude list'])
      assert.ok(text.stdout.includes(each));
    assert.ok(!`${text.stdout}${text.stderr}`.includes(secret));
    // biome-ignore lint/suspicious/noControlCharactersInRegex: a control character is what must not be there
    assert.doesNotMatch(text.stdout, /[\u0000-\u0009\u000b-\u001f]/);
    assert.deepEqual(
      readdirSync(world.clientState).filter(each => each.startsWith('run-')),
      [],
    );
  });

  itShort('weighs a part of the scope, also an excluded one, and refuses any other path', async () => {
    const inside = await weighJson(join(scratch, 'cache'));
    assert.deepEqual([inside.bytes, inside.left_out_bytes], [0, 3_000_000]);
    for (const [path, found] of [
      ['/etc', says('no-root-of-client-toml')],
      [join(scratch, 'kept back'), says('never-covers')],
      [join(scratch, 'not there'), says('there-is-no-such-file-or')],
    ] as const) {
      const { status, stderr } = await weigh(path);
      assert.equal(status, 2, stderr);
      assert.match(stderr, found);
    }
    for (const args of [
      ['--top', 'many'],
      ['--top', '99999'],
      ['a', 'b'],
    ])
      assert.equal((await weigh(...args)).status, 2);
  });

  itLong('writes the format of ncdu, and a picture in which hostile names are inert', async () => {
    const hostile = ['<script>alert(1)<', '"onload=alert(2) \u202e', "'; &lt;<img src=x>"];
    for (const name of hostile) writeFileSync(join(scratch, name), Buffer.alloc(6_000_000));
    writeFileSync(Buffer.concat([Buffer.from(`${scratch}/`), Buffer.from([0xff, 0x1b])]), 'x');
    const page = join(world.client.home, 'page.html');
    const { status, stdout, stderr } = await weigh('--ncdu', '--html', page);
    assert.equal(status, 0, stderr);
    // ncdu itself reads it, and writes it again.
    const again = execFileSync('ncdu', ['-0', '-f-', '-o-'], {
      input: stdout,
      encoding: 'utf8',
      env: { TERM: 'dumb' },
    });
    assert.equal(sumOf(JSON.parse(again)[3]), (await weighJson()).bytes);
    const [, , , top] = JSON.parse(stdout) as [number, number, object, [{ name: string }, ...object[]]];
    assert.equal(top[0].name, scratch);
    const named = (name: string): object | undefined =>
      top.flat().find(each => (each as { name?: string }).name === name) as object | undefined;
    assert.deepEqual(named('cache'), { name: 'cache', excluded: 'pattern' });
    assert.deepEqual(named('kept back'), { name: 'kept back', excluded: 'pattern' });
    assert.ok(named(hostile[1] ?? ''));
    const html = readFileSync(page, 'utf8');
    assert.equal(statSync(page).mode & 0o777, 0o600);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: a control character is what must not be there
    assert.doesNotMatch(html, /<(?:script|img)|\u202e|\u001b|onload=alert\(2\) "/);
    assert.match(html, /&#60;script&#62;alert/);
    assert.match(html, /Content-Security-Policy" content="default-src 'none'/);
    assert.ok(html.includes('class="left"') && html.includes('class="cache"'));
    assert.deepEqual(
      readdirSync(world.client.home).filter(each => each.startsWith('page.html.')),
      [],
    );
    for (const name of hostile) rmSync(join(scratch, name));
  });

  itShort(
    'extends the exclude list by literal names, keeps its attributes, and takes that back',
    async () => {
      const lists = [join(world.client.home, 'general'), join(world.client.home, 'own list')];
      const scope = (files: string): string => `roots = ["${scratch}"]\nexclude_from = ${files}`;
      world.configure({ scope: scope(JSON.stringify(lists)) });
      world.write(world.client, lists[0] ?? '', '*.bak\n');
      const old = '# my list\n/**/cache/'; // without a line end
      world.write(world.client, lists[1] ?? '', old, 0o640);
      execFileSync('setfacl', ['-m', 'u:1:r', lists[1] ?? '']);
      const acl = (): string => execFileSync('getfacl', ['-p', '--', lists[1] ?? ''], { encoding: 'utf8' });
      const before = acl();
      const odd = join(scratch, 'a*[b]?\\ ');
      writeFileSync(odd, 'x');
      const change = async (...words: string[]): Promise<Result> => await weigh(...words);
      const added = await change('--exclude', join(scratch, 'node_modules'), odd);
      assert.equal(added.status, 0, added.stderr);
      assert.match(added.stdout, /^--- .*\n\+\+\+ .*\n@@ -2,0 \+3,3 @@\n\+# .*\n\+.*node_modules\/\n\+/);
      assert.equal(acl(), before);
      const found = await weighJson();
      assert.equal(rowOf(found.left_out, odd).fate, 'excluded');
      assert.equal(rowOf(found.left_out, join(scratch, 'node_modules')).fate, 'excluded');
      // Nothing twice; and two at once lose nothing.
      assert.equal((await change('--exclude', odd)).stdout.includes('@@'), false);
      await Promise.all(['big', 'link'].map(async name => await change('--exclude', join(scratch, name))));
      const text = readFileSync(lists[1] ?? '', 'utf8');
      for (const name of ['big', 'link']) assert.ok(text.includes(`\n${scratch}/${name}\n`), text);
      for (const left of [2, 1, 0]) {
        const undone = await change('--undo');
        assert.equal(undone.status, 0, undone.stderr);
        assert.equal(readFileSync(lists[1] ?? '', 'utf8').match(/--exclude/g)?.length ?? 0, left);
      }
      assert.equal(readFileSync(lists[1] ?? '', 'utf8'), `${old}\n`);
      assert.equal(acl(), before);
    },
  );

  itLong(
    'changes no list for what it cannot exclude, makes a new list, and gives advice where there is none',
    async () => {
      const list = join(world.client.home, 'own list');
      const odd = join(scratch, 'a*[b]?\\ ');
      writeFileSync(odd, 'x');
      world.configure({ scope: `roots = ["${scratch}"]\nexclude_from = "${list}"` });
      world.write(world.client, list, '# my list\n/**/cache/\n', 0o640);
      for (const [words, status] of [
        [['--undo'], 2],
        [['--exclude', scratch], 2],
        [['--exclude', '/etc/passwd'], 2],
        [['--exclude', join(scratch, 'not there')], 2],
        [['--exclude'], 2],
        [['--undo', '--exclude', odd], 2],
      ] as const)
        assert.equal((await weigh(...words)).status, status, words.join(' '));
      // A list of root cannot keep its owner; a list that does not exist is made; without one there is advice.
      chmodSync(list, 0o644);
      chownSync(list, 0, 0);
      const refused = await weigh('--exclude', odd);
      assert.notEqual(refused.status, 0);
      assert.match(refused.stderr, says('add-a-file-of-this'));
      world.configure({ scope: `roots = ["${scratch}"]\nexclude_from = "${world.client.home}/new list"` });
      assert.equal((await weigh('--exclude', odd)).status, 0);
      assert.equal((await weighJson()).left_out.length, 1);
      world.configure({ scope: `roots = ["${scratch}"]` });
      assert.match((await weigh('--exclude', odd)).stderr, /next: .*exclude_from/);
    },
  );

  itShort('says what it cannot read without the launcher', async () => {
    world.configure({ top: 'capability = "none"', scope: `roots = ["${scratch}"]` });
    const { status, stdout, stderr } = await weigh('--json');
    assert.equal(status, 3, stderr);
    assert.match(stderr, matching`1 entry ${says('entries-could-not-be-weighed')}`);
    const found = JSON.parse(stdout) as Weighed;
    assert.deepEqual(found.unread, [join(scratch, 'root only')]);
    const asRoot = await world.run('root', ['weigh', '--config', world.clientToml]);
    assert.equal(asRoot.status, 2);
  });
});
