/**
 * A client, a host and somebody else: three accounts of one machine where dialback is installed. The rights of each
 * are a table in docs/security.md.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { compileProgram } from './compiled.ts';
import type { Process } from './machine.ts';
import { Sides } from './sides.ts';
import type { User } from './site.ts';

export const HOME = '/var/lib/dialback';
export const VAULT = '/home/vault';
export const STORE = '/srv/the store';
export const LAUNCHER = '/usr/local/libexec/dialback/launch';
export const JAIL = '/usr/local/libexec/dialback/jail';
export const PROBE = '/usr/local/bin/probe';

/** One attempt by one account, or with one key. */
export type Answer = 'yes' | string;

/** A row of a table: the attempt, and its outcome in each column; the last column is the control. */
export interface Line {
  what: string;
  /** The outcome of each verb, one for each column. */
  verbs: { verb: string; answers: Answer[]; control: Answer }[];
  /** Why accounts may do this; undefined: no account may. */
  why?: string;
}

/** The problems: a refusal that the control has too, a permission without a reason. */
export function complaints(lines: Line[]): string[] {
  return lines.flatMap(({ what, verbs, why }) => {
    const found = verbs.flatMap(({ verb, answers, control }) => {
      const strange = [...answers, control].filter(each => each.startsWith('?'));
      if (strange.length > 0) return [`${what}: ${verb}: no answer: ${strange.join('; ')}`];
      const isPossible = control === 'yes' || answers.includes('yes');
      return isPossible ? [] : [`${what}: ${verb}: nobody can, so a refusal says nothing (${control})`];
    });
    const isOpen = verbs.some(({ answers }) => answers.includes('yes'));
    if (isOpen && why === undefined) found.push(`${what}: somebody can, and no reason is given`);
    if (!isOpen && why !== undefined) found.push(`${what}: nobody can, and a reason is given`);
    return found;
  });
}

/** Markdown. @param columns who, without the control */
export function permissionTable(first: string, columns: string[], lines: Line[]): string {
  const rows = lines.map(({ what, verbs, why }) => {
    const cells = columns.map((_, column) => cell(verbs, column));
    const tried =
      verbs.length > 1 || verbs[0]?.verb !== '' ? `: ${verbs.map(({ verb }) => verb).join(', ')}` : '';
    return `| ${[`${what}${tried}`, ...cells, why ?? ''].join(' | ')} |`;
  });
  return [
    `| ${[first, ...columns, 'why it is let through'].join(' | ')} |`,
    `|---|${'---|'.repeat(columns.length + 1)}`,
    ...rows,
    '',
  ].join('\n');
}

/** The verbs that work in bold type, then the other verbs with their answers. */
function cell(verbs: Line['verbs'], column: number): string {
  const of = (each: Line['verbs'][number]): Answer => each.answers[column] ?? '';
  const open = verbs.filter(each => of(each) === 'yes');
  const shut = verbs.filter(each => of(each) !== 'yes');
  if (shut.length === 0) return '**yes**';
  const reasons = [...new Set(shut.map(of))];
  if (open.length === 0) return reasons.join(', ');
  return `**${open.map(({ verb }) => verb).join(', ')}**; not ${shut.map(({ verb }) => verb).join(', ')}: ${reasons.join(', ')}`;
}

/** The shell command of each verb, for the thing with the name "$1". It does not change the thing. */
const VERBS: Record<string, string> = {
  read: 'head -c 1 -- "$1"',
  write: ': >>"$1"', // opens it to append, and appends nothing
  open: ': <>"$1"', // both ends of a FIFO, so that it does not wait for another process
  list: 'ls -A -- "$1"',
  make: 'made=$(mktemp -d "$1/by a test XXXXXX") && rmdir "$made"',
  run: '"$1" version',
  use: 'SSH_AUTH_SOCK="$1" ssh-add -l',
  signal: 'kill -0 "$1"',
  look: 'head -c 1 "/proc/$1/environ"',
  'take over': `said=$(printf 'ptrace_seize\\t%s\\n' "$1" | ${PROBE}); echo "$said" >&2; [ "\${said#*OK}" != "$said" ]`,
};

/** An object of the machine: a path or a process, and the attempts on it. */
export interface Thing {
  what: string;
  at: string;
  verbs: string[];
  why?: string;
}

export class Stage extends Sides {
  static async make(): Promise<Stage> {
    return await Sides.install(Stage, made => made.#prepare());
  }

  /** Both sides as the four commands make them; a second client, whose key and snapshot there are too. */
  async #prepare(): Promise<void> {
    const { site, port, client, host } = this;
    this.#installProbe();
    // Its rsync gets its jail from the launcher. All may enter the homes: the files in them must have their own protection.
    // Terminals for those who are not root, as everywhere: sshd would have to give them away otherwise.
    await site.say(`
      mount -o remount,gid=$(getent group tty | cut -d: -f3),mode=620 /dev/pts
      usermod --append --groups dialback vault
      chmod 755 ${HOME} ${VAULT}
      install -d -o vault -g vault -m 700 '${STORE}'
      mkdir -p /srv/data && head -c 4000000 /dev/urandom >/srv/data/large && echo content >'/srv/data/a file'
    `);
    await this.prepareDaemon(['Subsystem sftp internal-sftp']);
    await this.as(client, `dialback init --name acorn`);
    await this.as(
      client,
      `mkdir -m 700 keys && cd keys && for name in unknown other admin; do ssh-keygen -q -t ed25519 -N '' -f $name; done`,
    );
    const identity = `${HOME}/.config/dialback/id_ed25519.pub`;
    const keys = (name: string): string => this.read(name).trim();
    await this.as(host, `echo '${keys(identity)}' | dialback enroll acorn - --store '${STORE}'`);
    await this.as(host, `sed -i '1i syslog = false' ~/.config/dialback/host.toml`);
    await this.as(host, `echo '${keys(`${HOME}/keys/other.pub`)}' | dialback enroll beech -`);
    await this.as(host, `echo '${keys(`${HOME}/keys/admin.pub`)}' >>~/.ssh/authorized_keys`);
    const hostKey = keys(`${VAULT}/sshd/key.pub`).split(' ').slice(0, 2).join(' ');
    await this.as(
      client,
      `dialback init --name acorn --target ssh://vault@127.0.0.1:${port} --host-key '${hostKey}'`,
    );
    this.configure();
    await this.startDaemon();
    await this.as(client, 'dialback backup');
    await this.as(host, `cd '${STORE}/clients' && cp -a acorn/snapshots/* beech/snapshots`);
  }

  #installProbe(): void {
    const folder = mkdtempSync(join(tmpdir(), 'dialback test-'));
    try {
      const flags = ['-std=gnu17', '-O1', '-static', '-no-pie'];
      const probe = join(folder, 'probe');
      compileProgram(join(import.meta.dirname, 'probe.c'), probe, flags);
      writeFileSync(this.path(PROBE), readFileSync(probe), { mode: 0o755 });
    } finally {
      rmSync(folder, { recursive: true });
    }
  }

  /** Changes the scope and a limit in the config that init wrote. */
  configure(limits = 'deadline = "5m"'): void {
    const path = this.path(`${HOME}/.config/dialback/client.toml`);
    const text = readFileSync(path, 'utf8')
      .replace(/^roots = .*$/m, 'roots = ["/srv/data"]')
      .replace(/\n\[limits\][\s\S]*/, '');
    writeFileSync(path, `${text}\n[limits]\n${limits}\n`);
  }

  /** Tries everything on every thing, by one account. @returns an answer a thing and verb, in order */
  async #tryAll(things: Thing[], user: User | 'root'): Promise<Answer[]> {
    const attempts = things.flatMap(({ at, verbs }) =>
      verbs.map(verb => `try ${verb.replaceAll(' ', '_')} '${at}'`),
    );
    const functions = Object.entries(VERBS).map(
      ([verb, script]) => `do_${verb.replaceAll(' ', '_')}() { ${script}; }`,
    );
    const output = await this.as(
      user,
      `${functions.join('\n')}
       try() {
         if said=$(do_$1 "$2" 2>&1 >/dev/null </dev/null); then echo yes; return; fi
         case $said in
           *'ext file busy'*) echo yes ;; # it may be written, when nobody runs it
           *'ermission denied'* | *EACCES*) echo EACCES ;;
           *'peration not permitted'* | *EPERM*) echo EPERM ;;
           *) echo "? $said" | tr '\\n' ' '; echo ;;
         esac
       }
       ${attempts.join('\n')}`,
    );
    const answers = output.split('\n');
    assert.equal(answers.length, attempts.length, output);
    return answers;
  }

  /** @param users the columns; root is the control */
  async tryThings(things: Thing[], users: User[]): Promise<Line[]> {
    const columns = await Promise.all([...users, 'root' as const].map(user => this.#tryAll(things, user)));
    let at = 0;
    return things.map(({ what, verbs, why }) => ({
      what,
      ...(why === undefined ? {} : { why }),
      verbs: verbs.map(verb => {
        const answers = columns.map(column => column[at] ?? '?');
        at += 1;
        return { verb, answers: answers.slice(0, -1), control: answers.at(-1) ?? '?' };
      }),
    }));
  }

  /** The processes of a user, with their command lines. */
  processes(user: User): Process[] {
    return this.site.machine.processes().filter(({ uids }) => uids[0] === user.uid);
  }

  /** Whether anything below a folder has such a path. */
  has(folder: string, pattern: RegExp): boolean {
    const names = readdirSync(this.path(folder), { recursive: true, encoding: 'utf8' });
    return names.some(name => pattern.test(`/${name}`));
  }

  /** The entries below a folder and their modes, without those below a snapshot's tree. */
  async find(folder: string): Promise<{ kind: string; mode: string; path: string }[]> {
    const found = await this.as(
      'root',
      `find '${folder}' -name tree -prune -printf '%y %m %p\\n' -o -printf '%y %m %p\\n'`,
    );
    return found
      .split('\n')
      .map(line => /^(.) (\d+) (.*)$/.exec(line) ?? assert.fail(line))
      .map(([, kind = '', mode = '', path = '']) => ({ kind, mode: mode.padStart(4, '0'), path }))
      .sort((a, b) => (a.path < b.path ? -1 : 1));
  }
}
