/** The backup host of `dialback try`: its sshd, and the client that is enrolled there. */
import { createServer } from 'node:net';
import { Fault } from '../../fault.ts';
import { readWhole } from '../../os/content.ts';
import { makeFolder } from '../../os/files.ts';
import { type Child, run, standard, start } from '../../os/process.ts';
import { writeNew } from '../../os/replace.ts';
import { as, dialback, must, NAME, own, type Stage } from './stage.ts';

/** Starts the host's sshd, run by the host's user, on loopback only; `stage.held` ends it. @returns its port */
export async function startHostSshd(stage: Stage): Promise<number> {
  const { host, held, signal } = stage;
  const folder = `${host.home}/sshd`;
  makeFolder(folder);
  own(host, folder);
  await must(
    as(host, standard('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', '', '-f', `${folder}/key`])),
    'make a host key',
    signal,
  );
  const lines = [
    `HostKey ${folder}/key`,
    `AuthorizedKeysFile ${host.home}/.ssh/authorized_keys`,
    'AuthenticationMethods publickey',
    'UsePAM no',
    'PidFile none',
    'PrintMotd no',
    'PrintLastLog no',
  ];
  writeNew(`${folder}/config`, lines.map(line => `${line}\n`).join(''));
  own(host, `${folder}/config`);
  const children = new Set<Child>();
  const server = createServer({ pauseOnConnect: true }, socket => {
    const command = as(host, standard('sshd', ['-i', '-e', '-f', `${folder}/config`]));
    void start(command, [socket, socket, 'nothing']).then(child => {
      socket.destroy();
      children.add(child);
      void child.exited.then(() => children.delete(child));
    });
  });
  held.defer(async () => {
    server.close();
    await Promise.all([...children].map(child => child.end()));
  });
  return await new Promise<number>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      resolve(typeof address === 'object' && address ? address.port : 0);
    });
  });
}

/** Makes the key and the configs, enrolls the client, and sees that its key opens nothing else. */
export async function enrollClient(stage: Stage, port: number): Promise<void> {
  const { client, host, signal, story } = stage;
  const key = `${client.home}/.ssh/id_ed25519`;
  await must(
    as(client, standard('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'try', '-f', key])),
    'make a key',
    signal,
  );
  writeConfigs(stage, port, key);
  const args = ['enroll', NAME, `${host.home}/client.pub`, '--config', `${host.home}/host.toml`];
  await must(
    dialback(stage, host, [...args, '--authorized-keys', `${host.home}/.ssh/authorized_keys`]),
    'enroll the client',
    signal,
  );
  const options = ['-F', 'none', '-i', key, '-o', `UserKnownHostsFile=${client.home}/known_hosts`];
  const call = [...options, '-o', 'BatchMode=yes', '-p', String(port), `${host.login}@127.0.0.1`, 'id'];
  const asked = await run(as(client, standard('ssh', call)), { signal });
  if (asked.status === 0 || asked.stdout.length > 0) {
    throw new Fault({
      tried: 'see the enrolled key refused',
      found: 'the host did something else than refuse it',
    });
  }
  story.step(
    'The client is enrolled',
    'Its key may ask for one thing, a backup of itself. Asked with it for `id`, the host refused.',
  );
}

function writeConfigs({ client, host, data }: Stage, port: number, key: string): void {
  const hostKey = readWhole(`${host.home}/sshd/key.pub`, 4096).toString('utf8').trim();
  writeNew(`${client.home}/known_hosts`, `[127.0.0.1]:${port} ${hostKey}\n`);
  writeNew(
    `${client.home}/client.toml`,
    [
      `name = "${NAME}"`,
      `state = "${client.home}/state"`,
      '[[remote]]',
      `name = "here"`,
      `target = "ssh://${host.login}@127.0.0.1:${port}"`,
      `identity = "${key}"`,
      `known_hosts = "${client.home}/known_hosts"`,
      'from = ["127.0.0.1"]',
      'listen = "127.0.0.1:0"',
      '[scope]',
      `roots = ["${data}"]`,
      '',
    ].join('\n'),
  );
  writeNew(`${host.home}/host.toml`, `store = "${host.home}/store"\nsyslog = false\n`);
  writeNew(`${host.home}/client.pub`, readWhole(`${key}.pub`, 4096));
  own(client, `${client.home}/known_hosts`, `${client.home}/client.toml`);
  own(host, `${host.home}/host.toml`, `${host.home}/client.pub`);
}
