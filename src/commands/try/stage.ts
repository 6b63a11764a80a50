/**
 * Where `dialback try` plays: a temporary folder with two accounts in it, a client and a host. Run by root, these are two
 * temporary users that do not trust each other; otherwise one user plays both. Everything is removed at the end.
 */
import { Fault } from '../../fault.ts';
import { ownAccount } from '../../os/account.ts';
import { ownExecutable } from '../../os/executable.ts';
import { chmod, chown, copyFile, makeFolder, makeUniqueFolder, removeAll } from '../../os/files.ts';
import { type Command, PLAIN_ENVIRONMENT, type Result, run, standard } from '../../os/process.ts';
import { endCommand } from '../../os/process-table.ts';
import { randomHex } from '../../os/random.ts';
import { escapeText } from '../../wire/text.ts';

/** The name of the client on the host. */
export const NAME = 'try';

/** The client or the host. */
interface Party {
  login: string;
  home: string;
  /** Undefined: the user that runs `try`. */
  account: { uid: number; gid: number } | undefined;
}

export interface Stage {
  base: string;
  binary: string;
  isRootUser: boolean;
  client: Party;
  host: Party;
  /** The folder that is backed up. */
  data: string;
  story: Story;
  held: AsyncDisposableStack;
  signal: AbortSignal;
}

/** The output of `try`: numbered steps. */
export class Story {
  readonly #print: (text: string) => void;
  #steps = 0;

  constructor(print: (text: string) => void) {
    this.#print = print;
  }

  tell(text: string): void {
    this.#print(text);
  }

  /** @param detail one or more lines */
  step(title: string, detail: string): void {
    this.#steps += 1;
    const lines = detail.split('\n').join('\n      ');
    this.#print(`${String(this.#steps).padStart(2)}. ${title}\n      ${lines}\n`);
  }
}

/** Makes folder, accounts and home folders. @param held gets what removes them */
export async function setUp(held: AsyncDisposableStack, story: Story, signal: AbortSignal): Promise<Stage> {
  const self = ownAccount();
  const isRootUser = self.uid === 0;
  const parent = isRootUser ? '/tmp' : `${self.home}/.local/state`;
  if (!isRootUser) makeFolder(parent, { parents: true });
  const base = makeUniqueFolder(`${parent}/dialback-try-`);
  held.defer(() => removeAll(base));
  if (isRootUser) chmod(base, 0o755); // the home folders of the two users are in it
  const binary = `${base}/dialback`;
  copyFile(ownExecutable(), binary); // other users may be unable to enter a checkout, or able to write to it
  chmod(binary, 0o755);
  const makeParty = async (role: 'client' | 'host'): Promise<Party> =>
    isRootUser
      ? await makeUser(held, base, role)
      : { login: self.name, home: `${base}/${role}`, account: undefined };
  const client = await makeParty('client');
  const host = await makeParty('host');
  for (const party of [client, host]) {
    makeFolder(party.home);
    makeFolder(`${party.home}/.ssh`);
    own(party, party.home, `${party.home}/.ssh`);
  }
  if (isRootUser) {
    story.step(
      'Two users who do not trust each other',
      `${client.login} is the client, ${host.login} the backup host; neither is root.`,
    );
  } else {
    story.step(
      'One user plays both sides',
      `${self.name} is client and backup host; run as root, this makes two users instead.`,
    );
  }
  // The process that makes the manifest of the last snapshot outlives its run.
  held.defer(() => endCommand(binary));
  return { base, binary, isRootUser, client, host, data: `${client.home}/data`, story, held, signal };
}

async function makeUser(held: AsyncDisposableStack, base: string, role: 'client' | 'host'): Promise<Party> {
  const login = `dbtry-${role}-${randomHex(2)}`;
  const home = `${base}/${role}`;
  const args = [
    '--system',
    '--user-group',
    '--no-create-home',
    '--home-dir',
    home,
    '--shell',
    '/bin/sh',
    login,
  ];
  await must(standard('useradd', args), 'make a temporary user');
  held.defer(async () => {
    await must(standard('userdel', [login]), `remove the temporary user "${login}"`);
  });
  const id = async (which: string): Promise<number> =>
    Number((await must(standard('id', [which, login]), 'find out the new user')).stdout.toString());
  return { login, home, account: { uid: await id('-u'), gid: await id('-g') } };
}

/** Gives files to one of the two. */
export function own(party: Party, ...paths: string[]): void {
  if (party.account) for (const path of paths) chown(path, party.account.uid, party.account.gid);
}

/** Gives a folder with all that is in it to the client, where that is another user. */
export async function ownAll({ client, data, signal }: Stage, tried: string): Promise<void> {
  if (!client.account) return;
  const owner = `${client.account.uid}:${client.account.gid}`;
  await must(standard('chown', ['-R', '--no-dereference', owner, '--', data]), tried, signal);
}

const MUST_MS = 600_000;

/** Runs a program. @throws Fault with its output where it does not succeed */
export async function must(command: Command, tried: string, signal?: AbortSignal): Promise<Result> {
  const result = await run(command, { timeoutMs: MUST_MS, ...(signal ? { signal } : {}) });
  if (result.status === 0) return result;
  const words = result.stderr.trim() || result.stdout.toString('utf8').trim();
  throw new Fault({
    tried,
    found: escapeText(words, 2000) || `${command.program} ended with status ${result.status}`,
  });
}

/** A program, run as one of the two. */
export function as(party: Party, command: Command): Command {
  return {
    ...command,
    environment: { ...command.environment, HOME: party.account ? party.home : ownAccount().home },
    ...(party.account ? { account: party.account } : {}),
  };
}

/** dialback, run as one of the two. */
export function dialback(stage: Stage, party: Party, args: string[]): Command {
  return as(party, { program: stage.binary, args, environment: PLAIN_ENVIRONMENT });
}
