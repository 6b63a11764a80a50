// Goal: the README's commands work as they are written: its console blocks are run in order, on two machines with a cable between
// them, and print what the README shows. UPDATE_README=1 writes the output into the README.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { copyCheckout, IN_CLEAN_MACHINE, loginEnvironment } from '../../support/checkout.ts';
import { Machine } from '../../support/machine.ts';
import { NEEDS_ROOT } from '../../support/world.ts';

const TOP = join(import.meta.dirname, '../../..');
const README = join(TOP, 'README.md');
const MACHINES = ['laptop', 'backup'] as const;
type MachineName = (typeof MACHINES)[number];

/** A command of the README, and the lines that the README shows below it. */
interface Step {
  user: string;
  machine: MachineName;
  folder: string;
  command: string;
  shown: string[];
  /** The prompt's line in the README, counted from 0. */
  line: number;
}

/** `anna@laptop:~$ command`; a folder below the home is `~/NAME`. */
const PROMPT = /^([a-z]+)@(laptop|backup):(~[^$#]*)[$#] (.+)$/;

/** The commands of all ```console blocks. */
function readSteps(text: string): Step[] {
  const steps: Step[] = [];
  let isConsole = false;
  for (const [at, line] of text.split('\n').entries()) {
    if (line.startsWith('```')) {
      isConsole = line === '```console';
      continue;
    }
    if (!isConsole) continue;
    const [, user, machine, folder, command] = PROMPT.exec(line) ?? [];
    if (user !== undefined && folder !== undefined && command !== undefined)
      steps.push({ user, machine: machine as MachineName, folder, command, shown: [], line: at });
    else {
      const step = steps.at(-1);
      assert.ok(step, `line ${at + 1} of a console block stands before the first prompt`);
      step.shown.push(line);
    }
  }
  return steps;
}

/** A line without what differs from one run to the next: keys, times, numbers with their units, and the width of columns. */
function shapeOf(line: string): string {
  return shorten(line)
    .replaceAll(/\d{4}-\d\d-\d\d([T ]\d\d[:-]\d\d([:-]\d\d)?Z?)?/g, 'DATE')
    .replaceAll(/\d+(\.\d+)?( ?([kMG]i?B|B|ms|s|min|%)(\/s)?\b)?/g, 'N')
    .replaceAll(/N( N)+/g, 'N') // 1 min 5 s
    .replaceAll(/ +/g, ' ')
    .trimEnd();
}

/** A line of the README that stands for any number of lines. */
const LEFT_OUT = '…';

/** What a command printed, with the lines left out that the README leaves out. */
function abridge(printed: string[], shown: string[]): string[] {
  const at = shown.indexOf(LEFT_OUT);
  if (at < 0) return printed;
  const last = shown.length - at - 1;
  return [...printed.slice(0, at), LEFT_OUT, ...printed.slice(Math.max(at, printed.length - last))];
}

/** Keys as the README shows them. */
function shorten(line: string): string {
  return line
    .replaceAll(/ssh-ed25519 [A-Za-z0-9+/]{68}/g, 'ssh-ed25519 AAAA…')
    .replaceAll(/SHA256:[A-Za-z0-9+/]{43}/g, 'SHA256:…');
}

describe("the README's commands", { skip: IN_CLEAN_MACHINE || NEEDS_ROOT }, () => {
  const machines = new Map<MachineName, Machine>();
  before(async () => {
    for (const name of MACHINES) machines.set(name, await Machine.boot({ ownNetwork: true }));
    const end = (name: MachineName): string[] => ['eth0', 'netns', String(machine(name).pid)];
    const pair = ['link', 'add', ...end('laptop'), 'type', 'veth', 'peer', 'name', ...end('backup')];
    execFileSync('ip', pair, { stdio: 'pipe' });
    for (const [number, name] of MACHINES.entries()) {
      copyCheckout(machine(name).path('/root/dialback'));
      mkdirSync(machine(name).path('/root/dialback/node_modules'));
      for (const made of ['dist/dialback', 'node_modules/.package-lock.json'])
        copyFileSync(join(TOP, made), machine(name).path(`/root/dialback/${made}`));
      await setUp(
        name,
        `ip address add 192.168.77.${number + 1}/24 dev eth0
        ip link set eth0 up
        printf '%s\\n' '127.0.0.1 localhost' '192.168.77.1 laptop' '192.168.77.2 backup.example.org backup' >/etc/hosts`,
      );
    }
    await setUp(
      'laptop',
      `hostname laptop
      useradd --create-home --shell /bin/bash anna
      echo 'Dear Bob, I have a backup.' >/home/anna/letter.txt
      mkdir /home/anna/photos
      head -c 300000 /dev/urandom >/home/anna/photos/cat.jpg
      rm -f /home/anna/.??*
      chown -R anna: /home/anna`,
    );
    await setUp(
      'backup',
      `hostname backup.example.org
      rm -f /etc/ssh/ssh_host_*
      ssh-keygen -q -A
      mkdir -p /run/sshd
      /usr/sbin/sshd
      make -C /root/dialback install`,
    );
  });
  after(async () => {
    for (const each of machines.values()) await each.end();
  });

  function machine(name: MachineName): Machine {
    const found = machines.get(name);
    assert.ok(found, name);
    return found;
  }

  /** As root; it has to succeed. */
  async function setUp(name: MachineName, script: string): Promise<void> {
    const { status, output } = await run(name, ['sh', '-ec', script], '/');
    assert.equal(status, 0, output);
  }

  async function run(name: MachineName, command: string[], folder: string) {
    return await machine(name).run(command, {
      folder,
      environment: loginEnvironment('/root'),
      timeoutMs: 180_000,
    });
  }

  /** Types a command at the prompt of its user. @returns the lines that it printed */
  async function type({ user, machine: name, folder, command }: Step, typed: string): Promise<string[]> {
    const home = { root: '/root', dialback: '/var/lib/dialback' }[user] ?? `/home/${user}`;
    const script = user === 'root' ? ['sh', '-c', typed] : ['su', '--pty', '-', user, '-c', typed];
    const { status, output } = await run(name, script, user === 'root' ? folder.replace('~', home) : '/');
    assert.equal(status, 0, `${command}\n${output}`);
    return output.replaceAll('\r', '').trimEnd().split('\n');
  }

  it('print what the README shows', async () => {
    const text = readFileSync(README, 'utf8');
    const steps = readSteps(text);
    assert.ok(steps.length >= 8, String(steps.length));
    const lines = text.split('\n');
    const printed: string[] = [];
    const differences: string[] = [];
    for (const step of steps) {
      // A command with a shortened key is the one that an earlier command has printed.
      const typed = step.command.includes('…')
        ? printed.map(line => line.trim()).find(line => shorten(line) === step.command)
        : step.command;
      assert.ok(typed, `no command has printed "${step.command}", but:\n${printed.join('\n')}`);
      const output = await type(step, typed);
      printed.push(...output);
      const actual = abridge(output.map(shorten), step.shown);
      if (actual.map(shapeOf).join('\n') !== step.shown.map(shapeOf).join('\n'))
        differences.push(`$ ${step.command}\n${actual.join('\n')}`);
      step.shown = actual;
    }
    if (process.env.UPDATE_README !== '1') {
      assert.deepEqual(differences, [], 'UPDATE_README=1 writes what the commands print');
      return;
    }
    for (const step of steps.toReversed()) {
      const end = lines.findIndex(
        (line, at) => at > step.line && (line.startsWith('```') || PROMPT.test(line)),
      );
      lines.splice(step.line + 1, end - step.line - 1, ...step.shown.filter(line => line !== ''));
    }
    writeFileSync(README, lines.join('\n'));
  });
});
