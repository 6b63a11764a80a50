/**
 * docs/quickstart.md: the first five minutes with the Debian package, on two fresh machines with a cable between them, from `apt install`
 * to a restored file. The commands are typed as the document has them, and must print what it shows.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Ended, Machine } from '../support/machine.ts';
import { followTranscript, type Step } from '../support/transcript.ts';
import type { Debs } from './deb.ts';
import { bootRoot, ENVIRONMENT, type Root } from './roots.ts';
import { formatTable, parseTable, readPart, replacePart, type Table } from './tables.ts';

const DOCUMENT = join(import.meta.dirname, '../../docs/quickstart.md');
const NAMES = ['laptop', 'backup'] as const;
type Name = (typeof NAMES)[number];
const STEP_MS = 5 * 60_000;
/** The first five minutes. */
const LIMIT_SECONDS = 300;
/** The packages that dialback depends on and that a minimal Debian lacks; the roots of the suite have them. */
const PURGED = 'rsync openssh-client openssh-server openssh-sftp-server attr acl';
const PROMPT_HOMES: Record<string, string> = { root: '/root', dialback: '/var/lib/dialback' };

const HOSTS = `127.0.0.1 localhost
192.168.77.1 laptop
192.168.77.2 backup.example.org backup
`;

/** The machines by their names in the document. */
class Pair {
  readonly #machines: Record<Name, Machine>;

  private constructor(machines: Record<Name, Machine>) {
    this.#machines = machines;
  }

  static async make(client: Root, host: Root, deb: string): Promise<Pair> {
    const laptop = await bootRoot(client, { ownNetwork: true });
    const pair = new Pair({ laptop, backup: await bootRoot(host, { ownNetwork: true }) });
    try {
      const end = (name: Name): string[] => ['eth0', 'netns', String(pair.#machines[name].pid)];
      const words = ['link', 'add', ...end('laptop'), 'type', 'veth', 'peer', 'name', ...end('backup')];
      execFileSync('ip', words, { stdio: 'pipe' });
      for (const name of NAMES) await pair.#prepare(name, deb);
      return pair;
    } catch (error) {
      await pair.end();
      throw error;
    }
  }

  /** A minimal Debian with an address, its package lists, the .deb and the packages that apt would download. */
  async #prepare(name: Name, deb: string): Promise<void> {
    const machine = this.#machines[name];
    const net = ['--target', String(machine.pid), '--net', 'ip'];
    const address = `192.168.77.${NAMES.indexOf(name) + 1}/24`;
    execFileSync('nsenter', [...net, 'address', 'add', address, 'dev', 'eth0'], { stdio: 'pipe' });
    execFileSync('nsenter', [...net, 'link', 'set', 'eth0', 'up'], { stdio: 'pipe' });
    writeFileSync(machine.path('/etc/hosts'), HOSTS);
    cpSync(deb, machine.path(`/root/${basename(deb)}`));
    await this.#setUp(
      name,
      `hostname ${name === 'backup' ? 'backup.example.org' : name}
       dpkg --purge ${PURGED} 2>&1
       rm -f /usr/sbin/policy-rc.d
       sed -i /Install-Recommends/d /etc/apt/apt.conf.d/*
       ! command -v rsync sshd ssh getfattr`,
    );
    // The machines have no way out. This shell has their files and this machine's network.
    const outside = ['--target', String(machine.pid), '--mount', '--pid', `--root=${machine.path('')}`];
    const fetch = `apt-get -q update && apt-get -qy install --download-only /root/${basename(deb)}`;
    execFileSync('nsenter', [...outside, 'env', '-C', '/', 'sh', '-ec', fetch], {
      env: ENVIRONMENT,
      stdio: 'pipe',
    });
    if (name === 'laptop')
      await this.#setUp(
        name,
        `useradd --create-home anna && echo 'Dear Bob, I have a backup.' >/home/anna/letter.txt
         chown anna: /home/anna/letter.txt && chmod 600 /home/anna/letter.txt`,
      );
  }

  async #setUp(name: Name, script: string): Promise<void> {
    const { status, output } = await this.#run(name, ['sh', '-ec', script], '/');
    assert.equal(status, 0, `${script}\n${output}`);
  }

  async #run(name: Name, command: string[], folder: string): Promise<Ended> {
    return await this.#machines[name].run(command, { folder, environment: ENVIRONMENT, timeoutMs: STEP_MS });
  }

  /** Types a command at the prompt of its user. @returns the lines that it printed */
  async type({ user, machine, folder, command }: Step, typed: string): Promise<string[]> {
    const name = NAMES.find(each => each === machine) ?? assert.fail(`there is no machine ${machine}`);
    const home = PROMPT_HOMES[user] ?? `/home/${user}`;
    const script = user === 'root' ? ['sh', '-c', typed] : ['su', '--pty', '-', user, '-c', typed];
    // A person reads the output of a backup. Meanwhile the host makes the manifest of the snapshot.
    await this.#setUp('backup', 'while pgrep -u dialback >/dev/null; do sleep 0.1; done');
    const { status, output } = await this.#run(
      name,
      script,
      user === 'root' ? folder.replace('~', home) : '/',
    );
    assert.equal(status, 0, `${command}\n${output}`);
    if (/^apt/.test(command)) await this.#startDaemon(name);
    return output.replaceAll('\r', '').trimEnd().split('\n');
  }

  /** What systemd does when openssh-server is installed. There is none in a chroot, and not every release starts it without. */
  async #startDaemon(name: Name): Promise<void> {
    await this.#setUp(name, 'pidof sshd >/dev/null || { install -d /run/sshd; /usr/sbin/sshd; }');
  }

  async end(): Promise<void> {
    for (const machine of Object.values(this.#machines)) await machine.end();
  }
}

/** The times, by client and host. */
function timesOf(text: string): Table {
  const cells = parseTable(readPart(text, 'times'), 2);
  const rows = [...cells.keys()].map(key => key.split('|').slice(0, 2));
  return { name: 'times', labels: ['client', 'host'], rows, columns: ['seconds'], cells };
}

function withTime(text: string, client: string, host: string, seconds: number): string {
  const times = timesOf(text);
  if (!times.cells.has(`${client}|${host}|seconds`)) times.rows.push([client, host]);
  times.cells.set(`${client}|${host}|seconds`, String(Math.ceil(seconds)));
  return replacePart(text, 'times', formatTable(times));
}

/**
 * Follows the document.
 * @param write whether the document gets the times, and the output if `isShown`
 * @param isShown whether this pair's output is the one in the document
 * @throws with what differs
 */
export async function runQuickstart(
  client: Root,
  host: Root,
  debs: Debs,
  { write, isShown }: { write: boolean; isShown: boolean },
): Promise<void> {
  const deb = join(debs.folder, debs.second);
  const shown = readFileSync(DOCUMENT, 'utf8');
  const text = shown.replaceAll(/dialback_[^ _]+_amd64\.deb/g, basename(deb));
  const pair = await Pair.make(client, host, deb);
  try {
    const startedMs = performance.now();
    const { differences, written, steps } = await followTranscript(
      text,
      async (step, typed) => await pair.type(step, typed),
    );
    const seconds = (performance.now() - startedMs) / 1000;
    assert.ok(steps >= 8 && existsSync(deb), String(steps));
    assert.ok(seconds < LIMIT_SECONDS, `${seconds} s`);
    if (write) {
      // Another pair may have written meanwhile.
      const now = isShown ? written : readFileSync(DOCUMENT, 'utf8');
      writeFileSync(DOCUMENT, withTime(now, client.suite.title, host.suite.title, seconds));
    }
    if (write && isShown) return;
    assert.deepEqual(differences, [], 'make versions-doc FILTER=quickstart writes what the commands print');
    assert.equal(text, shown, 'its file name');
  } finally {
    await pair.end();
  }
}
