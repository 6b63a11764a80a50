// Goal: who may do what: each account, key and machine against each program, file, folder, socket, process and verb that
// dialback makes or serves. Every attempt is really made; the tables of docs/security.md are what came of it.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import type { GateOrders } from '../../../src/client/ticket.ts';
import { decodeRequest } from '../../../src/wire/request.ts';
import { assertDocumented } from '../../support/attempts.ts';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import type { Ended } from '../../support/machine.ts';
import {
  type Answer,
  complaints,
  HOME,
  JAIL,
  LAUNCHER,
  type Line,
  permissionTable,
  STORE,
  Stage,
  type Thing,
  VAULT,
} from '../../support/permissions.ts';
import type { User } from '../../support/site.ts';
import { matchingLines, says } from '../../support/wording.ts';
import { until } from '../../support/world.ts';

const SKIP =
  IN_CLEAN_MACHINE ||
  (process.getuid?.() !== 0 && 'needs root: it makes a machine of namespaces and an overlay');

const OWN = "the account's own";

/** A process, by its command line. */
interface Kind {
  what: string;
  command: RegExp;
  why: string;
  /** Whether even the account itself may not attach to it; to its others it may, unless Yama forbids all of that. */
  isClosed?: boolean;
}

const CLIENT_PROCESSES: Kind[] = [
  { what: '`dialback backup`', command: /dialback backup/, why: OWN },
  { what: '`ssh`, the call', command: /^\S*ssh .*vault/, why: OWN },
  { what: '`sshd -i`, the one-time sshd', command: /^\S*sshd\S* .*-i\b|^sshd\S*: /, why: OWN },
  {
    what: '`rsync --daemon`, in its jail',
    command: /^rsync --server --daemon/,
    why: 'the account may end it; it cannot be made to lend what it may read',
    isClosed: true,
  },
];

const HOST_PROCESSES: Kind[] = [
  { what: '`dialback grab`', command: /dialback grab/, why: OWN },
  {
    what: '`ssh-agent` with the one-time key',
    command: /^\S*ssh-agent /,
    why: `${OWN}, but for its memory`,
    isClosed: true,
  },
  { what: '`cat`, which it ends with', command: /^\S*cat \/proc/, why: OWN },
  { what: '`ssh`, the way back', command: /^\S*ssh -F/, why: OWN },
  { what: '`rsync`, the receiver, in its jail', command: /^rsync /, why: OWN },
  { what: '`jail pump`, in the same jail', command: /^\S*jail pump/, why: OWN },
];

/** The launcher's verb for `capability = "inherited"`. */
const LEND = {
  what: '`lend gate --run RUN`',
  script: `${LAUNCHER} lend gate --run "$HOME/at/run-AAAAAA"`,
  works: matchingLines`^${says('cannot-let-this-in')}: `,
  why: undefined,
};
const LENT = 'the gate gets it, and hands it to the rsync that root gave it to';

/** Makes a folder as that of a run, in one's own home. */
const RUN_FOLDER = `set -eu
  umask 077
  mkdir -p at/run-AAAAAA/rsyncd at/tree
  { printf 'root /srv/data\\0'; ldd /usr/bin/rsync | grep -o '/[^ ]*' | sed 's/^/library /' | tr '\\n' '\\0'; } >at/run-AAAAAA/scope
  printf '%s\\n' 'use chroot = no' '[root]' 'path = /' >at/run-AAAAAA/rsyncd/rsyncd.conf`;
const ORDERS: GateOrders = {
  niceness: { nice: 0, ionice: null },
  bwlimitKib: 0,
  capability: 'confined',
  remote: 'vault',
  isChannel: false,
};
const OWN_OR_ROOT = "the account's own; root restores owners too";

/** What came of a verb. */
function verdict(works: RegExp, output: string): Answer {
  if (works.test(output)) return 'yes';
  if (/^dialback: Cannot run "[^"]*" as root: /m.test(output)) return 'not as root';
  if (/permission denied|EACCES/i.test(output)) return 'EACCES';
  if (matchingLines`^${says('cannot-let-this-in')}: `.test(output)) return 'gate: refused';
  const code = /"event":"outcome".*"code":"([a-z-]+)"/.exec(output)?.[1];
  return code === undefined ? `? ${output}` : `grab: ${code}`;
}

/** Something that is asked of an sshd. */
interface Call {
  what: string;
  /** Where it is not ssh. */
  program?: string;
  options?: string;
  /** Quoted for a shell. */
  command?: string;
  /** As printf takes it. */
  input?: string;
  works: RegExp;
}

/** What the host's account, and that of a client, may ask of dialback. */
const VERBS = [
  'list',
  'list beech',
  'ls beech',
  'restore beech --to elsewhere',
  'enroll cedar .ssh/authorized_keys',
  'unenroll cedar',
  'doctor --host',
  'grab --client beech --config .config/dialback/host.toml',
  'gate --check',
  'init',
  'backup',
  'try /nowhere',
  'version',
].map(words => ({
  what: `\`dialback ${words.replace(/ (-|\.|\/).*/, ' …')}\``,
  command: `'dialback ${words}; echo "it ran: $?"'`,
  works: /^it ran: \d+$/m,
}));

/** What a shell, a forwarding or a file transfer would give, at any sshd. */
const ANY_SSHD: Call[] = [
  { what: 'a command', command: 'id', works: /^uid=/m },
  { what: 'a shell', input: 'id\\n', works: /^uid=/m },
  { what: 'a terminal', options: '-tt', command: 'tty', works: /^\/dev\/pts\//m },
  {
    what: 'file transfer by sftp',
    program: 'sftp -b -',
    input: 'pwd\\n',
    works: /^Remote working directory: /m,
  },
  {
    what: "rsync's sender, with options of one's own",
    command: "'rsync --server --sender -r . /'",
    // biome-ignore lint/suspicious/noControlCharactersInRegex: rsync says its protocol's number first
    works: /[\x1e-\x22]\0\0\0/,
  },
  {
    what: "rsync's receiver",
    command: "'rsync --server -r . .'",
    // biome-ignore lint/suspicious/noControlCharactersInRegex: the same
    works: /[\x1e-\x22]\0\0\0/,
  },
  { what: 'a connection to another port of the machine', options: '-W 127.0.0.1:PORT', works: /^SSH-2\.0/m },
  {
    what: 'a port of the machine, forwarded back',
    options: '-o LogLevel=INFO -R 0:127.0.0.1:1',
    command: 'id',
    works: /Allocated port/,
  },
];

/** The key of the host's administrator, which may do everything there. */
const administrator = (port: number) => ({ key: `${HOME}/keys/admin`, port, login: 'vault' });

/** What came of a call. */
function judge(call: Call, { output }: Ended): Answer {
  if (call.works.test(output)) return 'yes';
  if (/Permission denied \(publickey\)/.test(output)) return 'sshd: no such key';
  if (/Connection refused/.test(output)) return 'no listener';
  if (/forwarding failed/.test(output)) return 'sshd: no forwarding';
  if (/PTY allocation request failed/.test(output)) return 'sshd: no terminal';
  if (/subsystem request failed/.test(output)) return 'sshd: no such subsystem';
  const code = /"event":"outcome".*"code":"([a-z-]+)"/.exec(output)?.[1];
  if (code !== undefined) return `grab: ${code}`;
  if (matchingLines`^${says('cannot-let-this-in')}: `.test(output)) return 'gate: refused';
  if (/Connection (closed|reset)|not connected/i.test(output)) return 'hung up on';
  return `? ${JSON.stringify(output)}`;
}

describe('who may do what', { skip: SKIP }, () => {
  let stage: Stage;
  before(async () => {
    stage = await Stage.make();
  });
  after(async () => {
    await stage?.site.machine.end();
  });

  /** The table is as documented, every refusal has its control, and every permission its reason. */
  function check(name: string, first: string, columns: string[], lines: Line[]): void {
    assert.deepEqual(complaints(lines), []);
    assertDocumented(name, permissionTable(first, columns, lines));
  }

  /** Processes, and each thing below some folders, while a run stands still. */
  function things(kinds: Kind[], user: User): Thing[] {
    const found = stage.processes(user);
    return kinds.map(({ what, command, why, isClosed }) => {
      const process = found.find(each => command.test(each.command));
      assert.ok(process, `${what} runs:\n${found.map(each => each.command).join('\n')}`);
      return {
        what,
        at: String(process.pid),
        verbs: ['signal', 'look', ...(isClosed ? ['take over'] : [])],
        why,
      };
    });
  }
  /** Everything below a folder that is not left out. @param shown a path as the table has it */
  async function below(folder: string, shown: (path: string) => string, without = /^$/): Promise<Thing[]> {
    const seen = new Set<string>();
    const all = (await stage.find(folder)).flatMap(({ kind, mode, path }): Thing[] => {
      const what = shown(path);
      if (without.test(path) || seen.has(what)) return [];
      seen.add(what);
      const verbs = { d: ['list', 'make'], f: ['read', 'write'], p: ['open'], s: ['use'] }[kind];
      assert.ok(verbs, `${path} is of the kind ${kind}`);
      return [{ what: `\`${what}${kind === 'd' ? '/' : ''}\` (${mode})`, at: path, verbs, why: OWN }];
    });
    assert.ok(all.length > 0, folder);
    return all;
  }
  const home = (path: string): string =>
    path
      .replace(/^(\/var\/lib\/dialback|\/home\/vault)/, '~')
      .replace(/\/run-[A-Za-z0-9]{6}/, '/RUN')
      .replace(/(\/lock-).*$/, '$1REMOTE');

  describe('while a run stands still', () => {
    let run: Promise<Ended>;
    let reader = 0;
    before(async () => {
      await stage.as('root', 'head -c 2000000 /dev/urandom >/srv/data/large');
      stage.configure('bwlimit = "500K"');
      run = stage.start(stage.client, 'dialback backup');
      const arriving = `${STORE}/clients/acorn/arriving`;
      await until('a part of a file has come', () => {
        const found = stage.processes(stage.client).find(({ command }) => /^rsync /.test(command));
        reader = found?.pid ?? 0;
        return reader !== 0 && stage.has(arriving, /\/\.large\./);
      });
      await stage.as('root', `kill -STOP ${reader}`);
    });
    after(async () => {
      await stage.as('root', `kill -CONT ${reader}`);
      const { status, output } = await run;
      assert.equal(status, 0, output);
      stage.configure();
    });

    it('on the client’s machine', async () => {
      const installed: Thing[] = [
        {
          what: '`/usr/local/bin/dialback`',
          at: '/usr/local/bin/dialback',
          verbs: ['read', 'run', 'write'],
          why: 'a program, and no secret: it has the rights of the account that runs it',
        },
        {
          what: 'the launcher',
          at: LAUNCHER,
          verbs: ['read', 'write'],
          why: 'its group may run it: see below',
        },
        {
          what: 'its other program, `jail`',
          at: JAIL,
          verbs: ['read', 'write'],
          why: 'it has no capability, and everybody may run it: see below',
        },
        { what: "the launcher's folder", at: LAUNCHER.replace(/\/launch$/, ''), verbs: ['make'] },
        {
          what: '`/etc/dialback/`',
          at: '/etc/dialback',
          verbs: ['list', 'make'],
          why: 'no secret: the account has to read it, and `doctor`',
        },
        {
          what: '`/etc/dialback/never`',
          at: '/etc/dialback/never',
          verbs: ['read', 'write'],
          why: 'the same',
        },
        {
          what: '`/etc/cron.d/dialback`',
          at: '/etc/cron.d/dialback',
          verbs: ['read', 'write'],
          why: 'the same',
        },
      ];
      const lines = await stage.tryThings(
        [
          ...installed,
          ...(await below(`${HOME}/.config/dialback`, home)),
          ...(await below(`${HOME}/.local/state/dialback`, home)),
          ...things(CLIENT_PROCESSES, stage.client),
        ],
        [stage.anna, stage.host, stage.client],
      );
      check('client', 'on the client', ['another user', "one of the launcher's group", 'the account'], lines);
    });

    it('on the host', async () => {
      const shown = (path: string): string =>
        home(path.replace(STORE, 'STORE'))
          .replace(/\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ/, 'SNAPSHOT')
          .replace(/(\/arriving\/)[^/]+/, '$1TREE');
      const snapshot = (await stage.as('root', `ls '${STORE}/clients/acorn/snapshots'`)).split('\n')[0];
      const inside: Thing = {
        what: 'a file in a snapshot',
        at: `${STORE}/clients/acorn/snapshots/${snapshot}/tree/srv/data/large`,
        verbs: ['read', 'write'],
        why: OWN,
      };
      const lines = await stage.tryThings(
        [
          ...(await below(`${VAULT}/.ssh`, home)),
          ...(await below(`${VAULT}/.config/dialback`, home)),
          ...(await below(`${VAULT}/.local/state/dialback`, home)),
          ...(await below(STORE, shown)),
          inside,
          ...things(HOST_PROCESSES, stage.host),
        ],
        [stage.anna, stage.client, stage.host],
      );
      check(
        'host',
        'on the host',
        ['another user', "a client's account on the same machine", 'the account'],
        lines,
      );
    });
  });

  it('with the launcher', async () => {
    const verbs: { what: string; script: string; works: RegExp; why: string | undefined }[] = [
      {
        what: "`send`, with a run folder of one's own",
        script: `${LAUNCHER} send "$HOME/at/run-AAAAAA" </dev/null`,
        works: /^@RSYNCD:/m,
        why: 'its purpose: the account can have any file read, less `never`',
      },
      {
        what: "`jail receive`, into a folder of one's own",
        script: `${JAIL} receive "$HOME/at/tree" -- --version`,
        works: /^rsync +version /m,
        why: 'it has no capability then, and less than the account',
      },
      {
        what: '`jail place`, a restore by root',
        script: `${JAIL} place / / -- --version`,
        works: /^rsync +version /m,
        why: undefined,
      },
      {
        what: '`jail pump`',
        script: `${JAIL} pump 60 a b 3</dev/null 4>/dev/null </dev/null && echo done`,
        works: /^done$/m,
        why: 'it copies bytes between descriptors that the caller has',
      },
      {
        what: 'a copy of it: `send`',
        script: `cp ${LAUNCHER} at/copy && at/copy send "$HOME/at/run-AAAAAA" </dev/null`,
        works: /^@RSYNCD:/m,
        why: undefined,
      },
      LEND,
    ];
    const users = [stage.anna, stage.host, stage.client, 'root' as const];
    for (const user of users) await stage.as(user, RUN_FOLDER);
    const answerOf = ({ works }: { works: RegExp }, { output }: Ended): Answer => {
      if (works.test(output)) return 'yes';
      if (/made for uid/.test(output)) return 'made for another uid';
      if (/built without it/.test(output)) return 'not built in';
      if (/another file than/.test(output)) return 'not the installed one';
      if (/for root only/.test(output)) return 'not as this account';
      return /Permission denied/.test(output) ? 'EACCES' : `? ${output}`;
    };
    const tried = async (each: (typeof verbs)[number]): Promise<Answer[]> => {
      const answers: Answer[] = [];
      for (const user of users) answers.push(answerOf(each, await stage.start(user, each.script)));
      return answers;
    };
    const rows = new Map<string, { answers: Answer[]; why: string | undefined }>();
    for (const each of verbs) rows.set(each.what, { answers: await tried(each), why: each.why });
    await stage.site.say('make install INHERITED=1');
    rows.set(`the same, installed with \`INHERITED=1\``, { answers: await tried(LEND), why: LENT });
    await stage.site.say('make install INHERITED=0');
    const lines = [...rows].map(([what, { answers, why }]): Line => {
      // Where nobody can, it is not for who he is: the account itself can, with the real one, or when root has said so.
      const other = /copy/.test(what) ? [...rows.values()][0] : [...rows.values()].at(-1);
      const control = answers.includes('yes') ? 'yes' : (other?.answers[2] ?? '');
      return {
        what,
        verbs: [{ verb: '', answers: answers.slice(0, 3), control }],
        ...(why === undefined ? {} : { why }),
      };
    });
    await stage.as('root', `rm -r /root/at ${HOME}/at ${VAULT}/at /home/anna/at`);
    check('launcher', 'the launcher', ['another user', 'one of its group', 'the account'], lines);
  });

  it('with the verbs', async () => {
    const { anna, host, client } = stage;
    const config = `--config ${VAULT}/.config/dialback/host.toml`;
    const keys = `--authorized-keys ${VAULT}/.ssh/authorized_keys`;
    const call = "SSH_CONNECTION='127.0.0.1 1 127.0.0.1 2'";
    const run = `${HOME}/at/run-AAAAAA`;
    const verbs: { what: string; script: string; works: RegExp; why: string }[] = [
      {
        what: "`backup`, with the client's config",
        script: `dialback backup --config ${HOME}/.config/dialback/client.toml && echo done`,
        works: /^done$/m,
        why: OWN,
      },
      {
        what: "`gate --run RUN`, with the client's run folder",
        script: `${call} SSH_ORIGINAL_COMMAND='rsync --server --daemon .' dialback gate --run ${run} </dev/null`,
        works: /^@RSYNCD:/m,
        why: 'once: the ticket',
      },
      {
        what: '`gate --check`',
        script: `SSH_ORIGINAL_COMMAND='rsync --server --daemon .' dialback gate --check`,
        works: /^allowed: /m,
        why: 'it says what it would do, and does nothing',
      },
      {
        what: "`grab --client acorn`, with the host's config",
        script: `echo nonsense | ${call} SSH_ORIGINAL_COMMAND=acorn:9 dialback grab --client acorn ${config}`,
        works: /"code":"request"/,
        why: `${OWN}; here it was given no request, and said so`,
      },
      {
        what: "`enroll`, with the host's config and authorized_keys",
        script: `dialback enroll cedar at/a.pub ${config} ${keys} && echo done`,
        works: /^done$/m,
        why: OWN,
      },
      {
        what: '`unenroll`, the same',
        script: `dialback unenroll cedar ${config} ${keys} && echo done`,
        works: /^done$/m,
        why: OWN,
      },
      { what: '`list`', script: `dialback list acorn ${config}`, works: /^\d{4}-|acorn/m, why: OWN_OR_ROOT },
      {
        what: '`ls`, `cat`, `diff`, `find`',
        script: `dialback cat acorn '/srv/data/a file' ${config} && dialback ls acorn /srv/data ${config} && dialback diff acorn@latest latest ${config} && dialback find acorn 'a file' ${config} && echo done`,
        works: /^done$/m,
        why: "the account's own; to root they show the same",
      },
      {
        what: '`restore`',
        script: `dialback restore acorn '/srv/data/a file' --to at/restored ${config}; test -e 'at/restored/srv/data/a file' && echo done`,
        works: /^done$/m,
        why: OWN_OR_ROOT,
      },
    ];
    const users = [anna, client, host, 'root' as const];
    for (const user of users)
      await stage.as(user, `${RUN_FOLDER}; echo '${stage.read(`${VAULT}/sshd/key.pub`).trim()}' >at/a.pub`);
    await stage.as(client, `echo '${JSON.stringify(ORDERS)}' >${run}/gate.json`);
    const lines: Line[] = [];
    for (const { what, script, works, why } of verbs) {
      const answers: Answer[] = [];
      for (const user of users) {
        if (script.includes(run)) await stage.as(client, `: >${run}/ticket`);
        const { output } = await stage.start(user, script);
        answers.push(verdict(works, output));
      }
      lines.push({ what, verbs: [{ verb: '', answers, control: 'not needed' }], why });
    }
    await stage.as('root', `rm -r /root/at ${HOME}/at ${VAULT}/at /home/anna/at`);
    check('verbs', 'the verb', ['another user', "the client's account", "the host's account", 'root'], lines);
  });

  /** Asks something of an sshd, as an account of the machine. */
  async function ask(
    user: User,
    call: Call,
    to: { key: string; port: number; login: string; options?: string },
  ): Promise<Ended> {
    const options = [
      '-F none -o BatchMode=yes -o IdentitiesOnly=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null',
      `-o LogLevel=ERROR -o ConnectTimeout=15 -i '${to.key}' -o Port=${to.port} -o User=${to.login}`,
      to.options ?? '',
      (call.options ?? '').replace('PORT', String(stage.port)),
    ];
    // ssh takes the first LogLevel that it sees.
    const script = `printf '${call.input ?? ''}' | timeout 30 ${call.program ?? 'ssh'} ${options.reverse().join(' ')} 127.0.0.1 ${call.command ?? ''}`;
    return await stage.start(user, script);
  }

  const controls = new Map<Call, Promise<Answer>>();
  /** The same by the administrator, at the host's sshd. */
  function byAdministrator(call: Call): Promise<Answer> {
    const found =
      controls.get(call) ??
      ask(stage.client, call, administrator(stage.port)).then(ended => judge(call, ended));
    controls.set(call, found);
    return found;
  }

  it('at the one-time sshd', async () => {
    const { host, client } = stage;
    const folder = `${VAULT}/by hand`;
    await stage.as(
      host,
      `mkdir 'by hand' && ssh-keygen -q -t ed25519 -N '' -f 'by hand/another' &&
       printf '%s\\n' '#!/bin/sh' 'cd "$HOME/by hand"; echo "$SSH_ORIGINAL_COMMAND" >call; exec cat >request' >'by hand/hold' &&
       chmod 700 'by hand/hold' && cp .ssh/authorized_keys 'by hand/keys'`,
    );
    // The host's administrator puts a script of his own in grab's place, which keeps the request.
    const keys = stage.path(`${VAULT}/.ssh/authorized_keys`);
    const enrolled = readFileSync(keys, 'utf8');
    writeFileSync(
      keys,
      enrolled.replace(/command="[^"]*--client acorn [^"]*"/, `command="'${folder}/hold'"`),
    );
    const run = stage.start(client, 'dialback backup');
    const request = stage.path(`${folder}/request`);
    await until(
      'the request has come',
      () => existsSync(request) && 'request' in decodeRequest(readFileSync(request)),
    );
    const decoded = decodeRequest(readFileSync(request));
    assert.ok('request' in decoded);
    const oneTime = `${folder}/one-time`;
    writeFileSync(stage.path(oneTime), decoded.request.key, { mode: 0o600 });
    await stage.as('root', `chown vault: '${oneTime}'`);
    const port = Number(stage.read(`${folder}/call`).trim().split(':')[1]);

    const greeting: Call = {
      what: "sshd's greeting",
      options: '-v',
      command: 'true',
      works: /Remote protocol version/,
    };
    const login: Call = { what: 'authentication', options: '-v', command: 'true', works: /Authenticated to/ };
    const daemon: Call = {
      what: '`rsync --server --daemon .`',
      command: "'rsync --server --daemon .'",
      works: /@RSYNCD: /,
    };
    const calls = [greeting, login, ...ANY_SSHD];
    const column = async (key: string, options = '', asked = [...calls, daemon]): Promise<Answer[]> => {
      const answers: Answer[] = [];
      for (const call of asked)
        answers.push(judge(call, await ask(host, call, { key, port, login: 'dialback', options })));
      return answers;
    };
    const [elsewhere, another, before] = await Promise.all([
      column(oneTime, '-o BindAddress=127.0.0.2'),
      column(`${folder}/another`),
      column(oneTime, '', calls),
      Promise.all(ANY_SSHD.slice(0, 4).map(byAdministrator)),
    ]);
    // It stays: what comes next comes while rsync reads.
    const reading = stage.start(
      host,
      `mkfifo '${folder}/open'
       ssh -F none -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -i '${oneTime}' \\
         -p ${port} -l dialback 127.0.0.1 'rsync --server --daemon .' <'${folder}/open' >'${folder}/heard' &
       exec 3>'${folder}/open'; wait`,
    );
    await until('rsync has been let in', () => {
      const heard = stage.path(`${folder}/heard`);
      return existsSync(heard) && daemon.works.test(readFileSync(heard, 'latin1'));
    });
    before?.push('yes');
    const meanwhile = await column(oneTime);
    for (const { pid, command } of stage.processes(host))
      if (command === 'cat') await stage.as('root', `kill ${pid}`); // the call ends, and with it the run
    const { status, output } = await run;
    assert.equal(status, 1, output);
    await reading;
    const afterwards = await column(oneTime);
    writeFileSync(keys, enrolled);

    // What is refused here the same account can have at its own sshd.
    const whys = new Map([
      [greeting.what, 'before it knows who speaks, sshd says what it is; a stranger is not even told that'],
      [login.what, 'the host has the one-time key of this run'],
      [daemon.what, 'once: the ticket'],
    ]);
    const lines: Line[] = [];
    for (const [row, call] of [...calls, daemon].entries()) {
      const answers = [elsewhere, another, before, meanwhile, afterwards].map(each => each?.[row] ?? '?');
      // Where nobody can: the same, asked of an sshd that lets him.
      const control = answers.includes('yes') ? 'yes' : await byAdministrator(call);
      const why = whys.get(call.what);
      lines.push({ what: call.what, verbs: [{ verb: '', answers, control }], ...(why ? { why } : {}) });
    }
    check(
      'listener',
      'at the one-time sshd',
      [
        'the right key, from another address',
        "another key, from the host's address",
        'the host, when it has called',
        'the host, while rsync reads',
        'the host, after the run',
      ],
      lines,
    );
  });

  it("with each key, at the host's sshd", async () => {
    const { client } = stage;
    const toml = stage.read(`${HOME}/.config/dialback/client.toml`);
    const identity = /^identity = "(.*)"$/m.exec(toml)?.[1] ?? '';
    const keys = [`${HOME}/keys/unknown`, `${HOME}/keys/other`, identity];
    const backupOf = async (name: string, key: string): Promise<Answer> => {
      const path = `${HOME}/by another key.toml`;
      const text = toml.replace(/^name = .*$/m, `name = "${name}"`).replace(identity, key);
      writeFileSync(stage.path(path), text, { mode: 0o600 });
      await stage.as('root', `chown dialback: '${path}'`);
      const { status, output } = await stage.start(client, `dialback backup --config '${path}'`);
      if (status === 0) return 'yes';
      if (says('does-not-accept-the-key').test(output)) return 'sshd: no such key';
      if (status === 12) return 'grab: refused';
      return `? ${output}`;
    };
    const backups = async (name: string): Promise<Line> => {
      const answers: Answer[] = [];
      for (const key of keys) answers.push(await backupOf(name, key));
      const why = 'the key is enrolled for this';
      return { what: `a backup of ${name}`, verbs: [{ verb: '', answers, control: 'not needed' }], why };
    };
    const calls: Call[] = [...ANY_SSHD, ...VERBS];
    const column = async (key: string): Promise<Answer[]> => {
      const answers: Answer[] = [];
      for (const call of calls) {
        // Who has no key is not asked what he wants: once is enough.
        const isKnown = key !== keys[0] || answers.length === 0;
        const to = { key, port: stage.port, login: 'vault' };
        answers.push(isKnown ? judge(call, await ask(client, call, to)) : (answers[0] ?? '?'));
      }
      return answers;
    };
    const [lines, ...columns] = await Promise.all([
      (async () => [await backups('acorn'), await backups('beech')])(), // one after the other: they are one client
      ...keys.map(column),
    ]);
    // All verbs at once: the administrator has a shell.
    const all: Call = {
      what: 'all verbs',
      command: VERBS.map(({ command }) => command).join("'; '"),
      works: new RegExp(`(^it ran: \\d+$\\s[^]*?){${VERBS.length}}`, 'm'),
    };
    for (const [row, call] of calls.entries()) {
      const answers = columns.map(each => each[row] ?? '?');
      const control = await byAdministrator(row < ANY_SSHD.length ? call : all);
      lines.push({ what: call.what, verbs: [{ verb: '', answers, control }] });
    }
    check('keys', "at the host's sshd", ['no key of a client', "beech's key", "acorn's key"], lines);
  });
});
