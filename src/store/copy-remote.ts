/**
 * A copy of a store on another machine: rsync and a constant sh script (copy-script.ts), both over ssh with the account's own
 * ssh config.
 *
 * An entry whose owner is the store's own account has no `%stat`. If the account there has another uid or group, a raw copy
 * would change the owner of such files. Then rsync works with --fake-super on both sides, and writes `%stat` where it is needed.
 */
import { Fault } from '../fault.ts';
import { ownAccount } from '../os/account.ts';
import { run, standard } from '../os/process.ts';
import { programPath } from '../os/programs.ts';
import { escapeText, NAME, SNAPSHOT } from '../wire/text.ts';
import {
  type CompareSnapshot,
  type CopyCheck,
  type CopyPlace,
  type PlaceFacts,
  type PlaceState,
  parseAttempt,
  parseCopied,
} from './copy-place.ts';
import { MAPPED_ATTRIBUTES, RAW_ATTRIBUTES } from './copy-rsync.ts';
import { farCommand, REFUSED } from './copy-script.ts';
import { differences, parseVerified } from './copy-verified.ts';
import { STORE_CONTENT } from './store.ts';
import { type CopyMark, encodeCopyMark, parseCopyMark } from './store-mark.ts';
import { isWell, type Verified } from './verify.ts';

const HOST = /^(?:[a-z_][a-z0-9_.-]*@)?(?:[a-zA-Z0-9][a-zA-Z0-9._-]*|\[[0-9a-fA-F:.]+\])$/;

/** Splits HOST:DIR. @returns undefined for a folder of this machine: a path whose first colon is behind a slash */
export function parseRemotePlace(text: string): { host: string; folder: string } | undefined {
  const [, host = '', folder = ''] = /^((?:[^:/@]*@)?(?:\[[^\]/]*\]|[^:/]*)):(.*)$/s.exec(text) ?? [];
  return host === '' && folder === '' ? undefined : { host, folder };
}

/** ssh's options, besides the account's config (ssh_config(5)). */
const SSH_OPTIONS = [
  'BatchMode=yes', // never ask a person
  'StrictHostKeyChecking=yes', // no trust on first use, whatever the config says
  'UpdateHostKeys=no',
  'ForwardAgent=no',
  'ForwardX11=no',
  'ClearAllForwardings=yes',
  'PermitLocalCommand=no',
  'RequestTTY=no',
  'ConnectTimeout=30',
  'ServerAliveInterval=15', // notice a lost connection within a minute
  'ServerAliveCountMax=4',
].flatMap(each => ['-o', each]);

/** Node's longest timer: a verification can take days. */
const MOST_MS = 2 ** 31 - 1;
const OUTPUT_LIMIT = 256 * 1024 * 1024;
/** ssh(1): its own failure. */
const SSH_FAILED = 255;

/** A folder of another machine. */
export class CopyRemote implements CopyPlace {
  readonly name: string;
  readonly folder = undefined;
  readonly environment: Record<string, string>;
  readonly #host: string;
  readonly #given: string;
  readonly #signal: AbortSignal;
  #top: string | undefined;
  #isSameAccount = false;
  #hasDialback = false;
  /** `NAME@SNAPSHOT` of each snapshot that was verified after it was copied. */
  #verified: ReadonlySet<string> = new Set();

  /**
   * @param agent the socket of ssh-agent(1); undefined if there is none
   * @throws Fault `usage` for a host or folder that cannot be named
   */
  constructor(
    { host, folder }: { host: string; folder: string },
    agent: string | undefined,
    signal: AbortSignal,
  ) {
    this.name = escapeText(`${host}:${folder}`);
    this.#host = host;
    this.#given = folder;
    this.#signal = signal;
    this.environment = agent === undefined ? {} : { SSH_AUTH_SOCK: agent };
    if (!HOST.test(host)) throw this.#fault('this is not the name of a host', { exit: 'usage' });
    // A line of the script's input, and of rsync's messages, is a line.
    if (folder === '' || /\p{Cc}/u.test(folder))
      throw this.#fault('the folder must have a name without control characters', { exit: 'usage' });
  }

  #fault(found: string, more: { next?: string; exit?: 'usage' | 'refused' | 'unreachable' } = {}): Fault {
    return new Fault({ tried: `copy the store to "${this.name}"`, found, ...more });
  }

  get root(): string {
    return `${this.#host}:${this.#top ?? this.#given}`;
  }

  get remoteShell(): string[] {
    const shell = [programPath('ssh'), '-T', ...SSH_OPTIONS].join(' ');
    return ['-s', '-e', shell]; // -s: names go over the protocol, not through the login shell there
  }

  get options(): string[] {
    return [...(this.#isSameAccount ? RAW_ATTRIBUTES : MAPPED_ATTRIBUTES), ...this.remoteShell];
  }

  /** Runs a verb of the script. @returns its standard output */
  async #call(verb: string, lines: readonly string[] = []): Promise<string> {
    const host = this.#host.replace(/[[\]]/g, ''); // only rsync needs the brackets of an IPv6 address
    const ssh = standard('ssh', ['-T', ...SSH_OPTIONS, '--', host, farCommand()], this.environment);
    const input = [this.#top ?? this.#given, verb, ...lines].map(each => `${each}\n`).join('');
    const options = { input, timeoutMs: MOST_MS, limit: OUTPUT_LIMIT, signal: this.#signal };
    const { status, stdout, stderr } = await run(ssh, options);
    if (status === 0) return stdout.toString('utf8');
    const found = escapeText(stderr.trimEnd().split('\n').at(-1) ?? '') || `ssh exited with status ${status}`;
    if (status === REFUSED)
      throw this.#fault(found, { next: 'name a folder there that can hold a store', exit: 'refused' });
    if (status === SSH_FAILED)
      throw this.#fault(found, { next: `ssh -o BatchMode=yes ${host} true`, exit: 'unreachable' });
    throw this.#fault(found);
  }

  async look(): Promise<PlaceFacts> {
    const lines = (await this.#call('look')).split('\n');
    const values = (key: string): string[] =>
      lines.filter(each => each.startsWith(`${key} `)).map(each => each.slice(key.length + 1));
    const [top] = values('top');
    const [uid, gid] = (values('uid')[0] ?? '').split(' ').map(Number);
    const state = STATES.find(each => each === values('state')[0]);
    if (top === undefined || !top.startsWith('/') || state === undefined || uid === undefined)
      throw this.#fault('its answer cannot be read');
    const own = ownAccount();
    this.#top = top;
    this.#isSameAccount = uid === own.uid && gid === own.gid;
    this.#hasDialback = values('dialback').length > 0;
    this.#verified = parseCopied(values('verified').join('\n'));
    const below = values('has').filter(each => each.startsWith(`${top}/`));
    const has = below.map(each => each.slice(top.length + 1).split('/'));
    const freeKib = /\s\d+\s+\d+\s+(\d+)\s+\d+%\s/.exec(values('free')[0] ?? '')?.[1];
    const inside = values('inside')[0];
    return {
      state,
      mark: parseCopyMark(values('mark').join('\n')),
      inside: inside === undefined ? undefined : escapeText(inside),
      contains: false,
      snapshots: byClient(has, ([top, client, folder, name, ...more]) =>
        top === 'clients' && folder === 'snapshots' && more.length === 0 && SNAPSHOT.test(name ?? '')
          ? [client, name]
          : undefined,
      ),
      attempts: byClient(has, ([top, client, name, ...more]) =>
        top === 'copying' && more.length === 0 && parseAttempt(name ?? '') ? [client, name] : undefined,
      ),
      copied: parseCopied(values('copied').join('\n')),
      freeBytes: freeKib === undefined ? undefined : Number(freeKib) * 1024,
    };
  }

  async prepare(mark: CopyMark): Promise<void> {
    const toml = `store = ${JSON.stringify(this.#top)}`; // JSON's strings are TOML's
    await this.#call('prepare', [encodeCopyMark(mark).trimEnd(), STORE_CONTENT.trimEnd(), toml]);
    await this.look(); // the folder exists now, and its path without links is known
  }

  async addClient(client: string): Promise<void> {
    await this.#call('client', [client]);
  }

  async begin(client: string, attempt: string): Promise<void> {
    await this.#call('begin', [this.#words(client, attempt)]);
  }

  async finish(client: string, attempt: string): Promise<void> {
    await this.#call('finish', [`${this.#words(client, attempt)} ${parseAttempt(attempt)?.snapshot}`]);
  }

  async unpin(client: string, snapshots: readonly string[]): Promise<void> {
    await this.#call(
      'unpin',
      snapshots.filter(each => SNAPSHOT.test(each)).map(each => `${client} ${each}`),
    );
  }

  async discard(client: string, attempts: readonly string[]): Promise<void> {
    if (attempts.length === 0) return;
    await this.#call(
      'discard',
      attempts.map(each => this.#words(client, each)),
    );
  }

  /** Checks the names again right before the script uses them as parts of paths. */
  #words(client: string, attempt: string): string {
    if (!NAME.test(client) || parseAttempt(attempt) === undefined)
      throw this.#fault('this is not the name of a snapshot');
    return `${client} ${attempt}`;
  }

  async verify(
    clients: readonly string[],
    signal: AbortSignal,
    compare: CompareSnapshot,
  ): Promise<CopyCheck> {
    const { snapshots } = await this.look();
    const results: Verified[] = [];
    for (const client of clients) {
      const names = (snapshots.get(client) ?? []).filter(each => !this.#verified.has(`${client}@${each}`));
      if (names.length === 0) continue;
      signal.throwIfAborted();
      const result = this.#hasDialback
        ? await this.#verifyThere(client, names)
        : await differences(client, names, compare);
      results.push(result);
      const done = isWell([result]) ? result.snapshots.filter(each => names.includes(each)) : [];
      if (done.length > 0)
        await this.#call(
          'verified',
          done.map(each => `${client} ${each}`),
        );
    }
    return { by: this.#hasDialback ? 'manifest' : 'comparison', results };
  }

  /** @param names the snapshots to verify; verify reads one of them, or all of the client with each inode once */
  async #verifyThere(client: string, names: readonly string[]): Promise<Verified> {
    const text = await this.#call('verify', [names.length === 1 ? `${client}@${names[0]}` : client]);
    const result = parseVerified(text, client);
    if (result === undefined) throw this.#fault('the answer of dialback verify there cannot be read');
    return result;
  }
}

const STATES: readonly PlaceState[] = ['absent', 'empty', 'copy', 'store', 'other'];

/** Groups names by client. @param pick the client and the name of a path; undefined for other paths */
function byClient(
  paths: readonly string[][],
  pick: (path: string[]) => (string | undefined)[] | undefined,
): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const path of paths) {
    const [client = '', name = ''] = pick(path) ?? [];
    if (NAME.test(client)) found.set(client, [...(found.get(client) ?? []), name].sort());
  }
  return found;
}
