// Goal: the one-time private key is in no file, on either side: strace watches every write of both sides' process trees.
// A positive control shows that the search would find it.
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { decodeRequest } from '../../../src/wire/request.ts';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { NEEDS_ROOT, World } from '../../support/world.ts';

/** Writes to regular files that hold any of `needles`, in strace's logs (-xx: all strings in hex; -y: paths). */
function writesOf(folder: string, needles: Buffer[]): string[] {
  const found: string[] = [];
  const patterns = needles.map(needle => needle.toString('hex').replace(/../g, '\\x$&'));
  for (const log of readdirSync(folder)) {
    for (const line of readFileSync(join(folder, log), 'latin1').split('\n')) {
      const path =
        /^(?:p?writev?(?:64)?|pwritev2?|sendto|sendmsg|copy_file_range|splice|sendfile)\(\d+<([^>]*)>/.exec(
          line,
        )?.[1];
      if (path === undefined || !patterns.some(pattern => line.includes(pattern))) continue;
      found.push(
        decodeURI(
          path.replace(/\\x([0-9a-f]{2})/g, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16))),
        ),
      );
    }
  }
  return found;
}

describe('the private key', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let world: World;
  before(async () => {
    world = await World.make();
    writeFileSync(join(world.data, 'a file'), 'content');
  });
  after(async () => {
    await world.dispose();
  });

  /** strace of a whole process tree, a log a process. */
  const strace = (folder: string): string[] => {
    const calls =
      'trace=write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg,splice,sendfile,copy_file_range,mmap,memfd_create';
    return ['-ff', '-qq', '-y', '-xx', '-s', '1000000', '-e', calls, '-o', join(folder, 'log')];
  };

  it('is written to sockets and pipes, and to no file', async () => {
    const { client, host } = world;
    const clientLogs = join(client.home, 'strace');
    const hostLogs = join(host.home, 'strace');
    for (const [party, folder] of [
      [client, clientLogs],
      [host, hostLogs],
    ] as const) {
      await world.start(party, 'mkdir', [folder]).done;
    }
    const enrolled = readFileSync(world.authorizedKeys, 'utf8');
    const command = /command="([^"]*)"/.exec(enrolled)?.[1] ?? '';
    const request = join(host.home, 'request');
    const traced = ['/usr/bin/strace', ...strace(hostLogs).map(each => `'${each}'`)].join(' ');
    // tee is outside of what is traced: it tells the test which key it was.
    writeFileSync(world.authorizedKeys, enrolled.replace(command, `tee '${request}' | ${traced} ${command}`));
    const args = [...strace(clientLogs), world.binary, 'backup', '--json', '--config', world.clientToml];
    const { status, stdout, stderr } = await world.start(client, '/usr/bin/strace', args).done;
    assert.equal(status, 0, stdout + stderr);

    const decoded = decodeRequest(readFileSync(request));
    assert.ok('request' in decoded);
    const lines = decoded.request.key.toString('latin1').split('\n');
    // The base64 body: a line of it each; the first ones say only which kind of key it is.
    const body = lines.slice(2, 5).map(line => Buffer.from(line));
    assert.ok(
      body.every(line => line.length >= 40),
      'lines of the private half',
    );

    for (const [side, folder] of [
      ['client', clientLogs],
      ['host', hostLogs],
    ] as const) {
      const paths = writesOf(folder, body);
      assert.ok(paths.length > 0, `${side}: the search finds the key on its way`);
      for (const path of paths) {
        // A FIFO that ssh-keygen writes into is a name without a disk behind it; it is gone by now, and was one then.
        const isPassing =
          /^(socket|pipe|UNIX|TCP|unix):/.test(path) || /\/run-[A-Za-z0-9]{6}\/key$/.test(path);
        assert.ok(isPassing, `${side}: written to "${path}"`);
      }
    }
  });

  it('would be found in a file: the positive control', async () => {
    const { client } = world;
    const folder = join(client.home, 'control');
    await world.start(client, 'mkdir', [folder]).done;
    const path = join(client.home, 'plain key');
    const args = [...strace(folder), '/usr/bin/ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', path];
    assert.equal((await world.start(client, '/usr/bin/strace', args).done).status, 0);
    assert.ok(existsSync(path));
    const body = readFileSync(path, 'latin1')
      .split('\n')
      .slice(2, 5)
      .map(line => Buffer.from(line));
    assert.deepEqual([...new Set(writesOf(folder, body))], [path]);
  });

  it("goes into a FIFO on the client: ssh-keygen's file is none of a disk", async () => {
    // What makes the exception above hold: the name is a FIFO before ssh-keygen is started.
    const { client } = world;
    const logs = readdirSync(join(client.home, 'strace'));
    assert.ok(logs.length > 5, 'a log a process');
    const folder = join(client.home, 'calls');
    await world.start(client, 'mkdir', [folder]).done;
    const trace = ['-ff', '-qq', '-e', 'trace=mknod,mknodat,execve,openat', '-o', join(folder, 'log')];
    await world.start(client, '/usr/bin/strace', [
      ...trace,
      world.binary,
      'backup',
      '--config',
      world.clientToml,
    ]).done;
    const calls = readdirSync(folder)
      .flatMap(name => readFileSync(join(folder, name), 'latin1').split('\n'))
      .filter(line => /\/run-[A-Za-z0-9]{6}\/key"/.test(line) && !line.startsWith('execve('));
    assert.ok(
      calls.some(line => /^mknod(at)?\(.*S_IFIFO\|0600/.test(line)),
      calls.join('\n'),
    );
    // ssh-keygen's end, and ours; chmod's is none that reads or writes.
    const opened = calls.filter(line => line.startsWith('openat(') && !line.includes('O_PATH'));
    assert.equal(opened.length, 2, opened.join('\n'));
    assert.ok(
      opened.some(line => line.includes('O_WRONLY')),
      opened.join('\n'),
    );
  });
});
