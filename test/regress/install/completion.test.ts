// Goal: Tab completes commands, options, clients, snapshots, files and folders in real bash, zsh and fish, from the places where
// `make install` puts the three files. A wrong config prints nothing into the line. As root nothing of another account's store is read.
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { itShort, some } from '../../support/long.ts';
import { until } from '../../support/world.ts';

const TOP = join(import.meta.dirname, '../../..');
const BINARY = join(TOP, 'dist/dialback');
const OLD = '2026-11-23T00-12-00Z';
const NEW = '2026-11-24T00-12-00Z';
/** What share/ has, and the places below a prefix's share/. */
const PLACES = {
  'dialback.bash': 'bash-completion/completions/dialback',
  'dialback.zsh': 'zsh/site-functions/_dialback',
  'dialback.fish': 'fish/vendor_completions.d/dialback.fish',
};

/** A home folder with configs and a store, the three files, and a folder for PATH with this dialback. */
function makeHome(): string {
  const home = mkdtempSync(join(tmpdir(), 'dialback-completion-'));
  for (const [name, place] of Object.entries(PLACES)) {
    mkdirSync(dirname(`${home}/share/${place}`), { recursive: true });
    copyFileSync(join(TOP, 'share/completion', name), `${home}/share/${place}`);
  }
  mkdirSync(`${home}/bin`);
  symlinkSync(BINARY, `${home}/bin/dialback`);
  mkdirSync(`${home}/.config/dialback`, { recursive: true, mode: 0o700 });
  writeFileSync(`${home}/.config/dialback/host.toml`, `store = "${home}/store"\n`);
  writeFileSync(`${home}/broken.toml`, 'store = \n');
  for (const client of ['desk', 'laptop'])
    for (const snapshot of [OLD, NEW])
      mkdirSync(`${home}/store/clients/${client}/snapshots/${snapshot}`, { recursive: true });
  const tree = `${home}/store/clients/desk/snapshots/${NEW}/tree`;
  mkdirSync(`${tree}/srv/letters`, { recursive: true });
  mkdirSync(`${tree}/srv/music`);
  writeFileSync(`${tree}/srv/letters/to-bob`, '');
  symlinkSync('/', `${tree}/srv/outside`);
  writeFileSync(`${home}/store/store.json`, '{"version":1}\n');
  chmodSync(`${home}/store`, 0o700);
  mkdirSync(`${home}/a-folder`);
  writeFileSync(`${home}/a-file.toml`, '');
  return home;
}

/** A line as it is typed before Tab, and as it is after it. */
type Case = readonly [typed: string, completed: string];

const allCases = (home: string): Case[] => [
  ['dialback rest', 'dialback restore '],
  ['dialback list de', 'dialback list desk '],
  ['dialback pin lap', 'dialback pin laptop@'],
  ['dialback restore de', 'dialback restore desk'],
  ['dialback restore desk@l', 'dialback restore desk@latest '],
  ['dialback restore desk@2026-11-24', `dialback restore desk@${NEW} `],
  [`dialback diff desk@${OLD} 2026-11-24`, `dialback diff desk@${OLD} ${NEW} `],
  [`dialback ls desk@${NEW} /sr`, `dialback ls desk@${NEW} /srv/`],
  [`dialback cat desk@${NEW} /srv/le`, `dialback cat desk@${NEW} /srv/letters/`],
  [`dialback restore desk@${NEW} /srv/letters/`, `dialback restore desk@${NEW} /srv/letters/to-bob `],
  [`dialback ls desk@${NEW} /srv/outside/e`, `dialback ls desk@${NEW} /srv/outside/e`],
  ['dialback restore desk --for', 'dialback restore desk --force '],
  ['dialback init --transport ch', 'dialback init --transport channel '],
  ['dialback init --transport=ch', 'dialback init --transport=channel '],
  ['dialback config ch', 'dialback config check '],
  ['dialback help hoo', 'dialback help hooks '],
  [`dialback list --config ${home}/a-fi`, `dialback list --config ${home}/a-file.toml `],
  [`dialback list --config=${home}/a-fi`, `dialback list --config=${home}/a-file.toml `],
  [`dialback try ${home}/a-fo`, `dialback try ${home}/a-folder/`],
  [`dialback list --config ${home}/broken.toml de`, `dialback list --config ${home}/broken.toml de`],
];

/** Some kinds of words for each shell; a soak has all of them. */
const casesOf = (home: string, first: number): Case[] => some(allCases(home), 3, first);

/** An interactive shell at a terminal of its own, in which Ctrl-X p prints the line that is being typed. */
class Shell {
  readonly #child: ChildProcess;
  output = '';

  constructor(command: string, home: string) {
    const environment = {
      HOME: home,
      ZDOTDIR: home,
      PATH: `${home}/bin:/usr/bin:/bin`,
      XDG_DATA_DIRS: `${home}/share:/usr/share`,
      TERM: 'dumb',
      LC_ALL: 'C.UTF-8',
    };
    const script = `stty cols 400 rows 100; exec ${command}`;
    this.#child = spawn('/usr/bin/script', ['-qec', script, '/dev/null'], {
      cwd: home,
      env: environment,
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.output += text;
    });
  }

  async ready(): Promise<void> {
    await until('a prompt', () => this.output.includes('READY>'));
  }

  /** Presses Tab behind a line. @returns the line after it, and all that the shell has printed since */
  async complete(line: string): Promise<{ line: string; printed: string }> {
    const start = this.output.length;
    this.#child.stdin?.write(`${line}\t\u0018p`);
    const shown = /LINE\[(.*)\]/;
    await until(`the line of "${line}"`, () => shown.test(this.output.slice(start)));
    const printed = this.output.slice(start);
    return { line: shown.exec(printed)?.[1] ?? '', printed };
  }

  async end(): Promise<void> {
    const closed = new Promise(resolve => this.#child.once('close', resolve));
    this.#child.stdin?.end('exit\n\u0004');
    this.#child.kill();
    await closed;
  }
}

const BASHRC = `PS1='READY>'
. /usr/share/bash-completion/bash_completion
bind 'set bell-style none'
show_line() { printf 'LINE[%s]\\n' "$READLINE_LINE"; READLINE_LINE=; }
bind -x '"\\C-xp": show_line'
`;
const ZSHRC = (home: string): string => `PS1='READY>'
fpath=(${home}/share/zsh/site-functions $fpath)
autoload -Uz compinit && compinit -u -d ${home}/dump
unsetopt beep zle_bracketed_paste
show_line() { printf 'LINE[%s]\\n' "$BUFFER"; BUFFER=; zle reset-prompt }
zle -N show_line
bindkey -e
bindkey '^Xp' show_line
`;

describe('completion', { skip: IN_CLEAN_MACHINE || (!existsSync(BINARY) && 'needs dist/dialback') }, () => {
  let home = '';
  before(() => {
    home = makeHome();
    writeFileSync(`${home}/.bashrc`, BASHRC);
    writeFileSync(`${home}/.zshrc`, ZSHRC(home));
  });
  after(() => rmSync(home, { recursive: true, force: true }));

  for (const [first, name, command] of [
    [0, 'bash', 'bash --noprofile -i'],
    [1, 'zsh', 'zsh -d -i'],
  ] as const)
    it(`works in ${name}`, async () => {
      const shell = new Shell(command, home);
      try {
        await shell.ready();
        const found: Case[] = [];
        for (const [typed] of casesOf(home, first)) {
          const { line, printed } = await shell.complete(typed);
          assert.doesNotMatch(printed, /Cannot|next:|not found/);
          found.push([typed, line]);
        }
        assert.deepEqual(found, casesOf(home, first));
      } finally {
        await shell.end();
      }
    });

  it('works in fish', () => {
    const fish = (line: string): string[] =>
      execFileSync('/usr/bin/fish', ['--private', '-c', 'complete --do-complete $argv[1]', '--', line], {
        cwd: home,
        env: {
          HOME: home,
          PATH: `${home}/bin:/usr/bin:/bin`,
          XDG_DATA_DIRS: `${home}/share:/usr/share`,
          LC_ALL: 'C.UTF-8',
        },
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'inherit'],
      })
        .split('\n')
        .filter(Boolean)
        .map(each => each.split('\t')[0] ?? '');
    for (const [typed, completed] of casesOf(home, 2)) {
      const head = typed.slice(0, typed.lastIndexOf(' ') + 1);
      const word = completed.slice(head.length).trimEnd();
      const expected =
        typed === completed ? [] : typed === 'dialback restore de' ? ['desk', 'desk@'] : [word];
      assert.deepEqual(fish(typed), expected, typed);
    }
    assert.ok(fish('dialback ').includes('backup'));
  });
});

describe('dialback complete of root', { skip: process.getuid?.() !== 0 && 'needs root' }, () => {
  itShort('reads a store as the account that owns it', t => {
    const home = makeHome();
    t.after(() => rmSync(home, { recursive: true, force: true }));
    const [uid, gid] = [65534, 65534];
    execFileSync('/bin/chown', ['-R', `${uid}:${gid}`, `${home}/store`]);
    chmodSync(home, 0o711);
    const complete = (): string[] =>
      execFileSync(BINARY, ['complete', '--', 'list', ''], {
        env: { HOME: home },
        encoding: 'utf8',
      }).split('\n');
    assert.deepEqual(complete().slice(1, 3), ['desk\t', 'laptop\t']);
    // A folder that only root can list, in the place of a folder of the store.
    mkdirSync(`${home}/private/clients/hidden`, { recursive: true, mode: 0o700 });
    chmodSync(`${home}/private`, 0o700);
    rmSync(`${home}/store/clients`, { recursive: true });
    symlinkSync(`${home}/private/clients`, `${home}/store/clients`);
    chownSync(`${home}/store`, uid, gid);
    assert.deepEqual(complete(), ['']);
  });
});
