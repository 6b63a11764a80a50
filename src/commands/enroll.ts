/** `dialback enroll`: lets clients ask this host for backups. */
import { Fault } from '../fault.ts';
import {
  type ClientsEnrolled,
  type EnrollResult,
  enroll as enrollKey,
  enrollLocally,
  type LocalEnrollResult,
} from '../host/enroll.ts';
import { EnrollProblems, enrollMany } from '../host/enroll-many.ts';
import { jsonText } from '../output/json.ts';
import { nextCommandText } from '../output/next-command.ts';
import { findConfig } from '../shared/toml.ts';
import { fingerprint, showKey } from '../wire/key.ts';
import { quoteForShell } from '../wire/text.ts';
import { Arguments, type Command, type Io, JSON_OPTION } from './command.ts';

interface EnrollRequest {
  /** Empty with --from. */
  name: string;
  /** Undefined with --local: no key is enrolled, and the store serves this machine. */
  keyFile: string | undefined;
  config: string | undefined;
  store: string | undefined;
  replace: boolean;
  rotate: boolean;
  authorizedKeys: string | undefined;
  /** A folder, or `-` for standard input: many clients in place of one. */
  from: string | undefined;
  json: boolean;
}

export const enroll: Command<EnrollRequest> = {
  name: 'enroll',
  usage:
    'enroll NAME KEYFILE|-|--local|--from DIR|- [--store DIR] [--config F] [--replace|--rotate] [--authorized-keys F] [--json]',
  side: 'host',
  summary:
    'let the holder of this key (--local: this account) ask for backups of NAME; print the next command',
  options: [
    { name: 'store', value: 'DIR', help: 'the folder of the store, where no host.toml names it yet' },
    { name: 'config', value: 'F', help: 'read this host.toml, or write it' },
    {
      name: 'authorized-keys',
      value: 'F',
      help: "write to this file in place of the account's authorized_keys",
    },
    { name: 'replace', help: 'put this key in the place of the one that is enrolled' },
    {
      name: 'rotate',
      help: 'accept this key of `rotate-key` beside the enrolled one, until its first good run',
    },
    { name: 'local', help: 'enroll this account, for a store on a disk of this machine; there is no key' },
    {
      name: 'from',
      value: 'DIR|-',
      help: 'enroll many clients in place of NAME: lines of `init --batch` (-), or the files NAME.pub of a folder',
    },
    { name: 'json', help: `with --from: ${JSON_OPTION.help}` },
  ],
  positionals: [
    { name: 'NAME', isOptional: true },
    { name: 'KEYFILE|-', isOptional: true },
  ],

  parse(words) {
    const given = new Arguments(enroll, words);
    const [name = '', keyFile] = given.positionals;
    const isLocal = given.has('local');
    const from = given.text('from') === '-' ? '-' : given.path('from');
    if (from !== undefined && (name !== '' || isLocal))
      throw given.refuse('--from has the names and the keys: no NAME, KEYFILE or --local stands beside it');
    if (from === undefined && given.has('json')) throw given.refuse('--json is possible with --from only');
    if (from === undefined && name === '') throw given.refuse('an argument is missing');
    if (from === undefined && isLocal === (keyFile !== undefined))
      throw given.refuse(isLocal ? '--local takes no key' : 'an argument is missing');
    if (isLocal && (given.has('replace') || given.text('authorized-keys') !== undefined))
      throw given.refuse('with --local there is no key to replace, and no authorized_keys');
    if (given.has('rotate') && (given.has('replace') || isLocal))
      throw given.refuse('--rotate cannot stand beside --replace or --local');
    return {
      name,
      keyFile,
      config: given.path('config'),
      store: given.path('store'),
      replace: given.has('replace'),
      rotate: given.has('rotate'),
      authorizedKeys: given.path('authorized-keys'),
      from,
      json: given.has('json'),
    };
  },

  async run(request, io) {
    const { name, keyFile, from } = request;
    if (from !== undefined) return await runMany({ ...request, from }, io);
    io.print(
      keyFile === undefined
        ? enrollLocalText(request, await enrollLocally(request), findConfig('client.toml') !== undefined)
        : enrollText(name, await enrollKey({ ...request, keyFile })),
    );
    return 'done';
  },
};

async function runMany(request: EnrollRequest & { from: string }, io: Io): Promise<'done'> {
  try {
    const result = await enrollMany(request);
    io.print(request.json ? jsonText(manyJson(result)) : manyText(result));
    return 'done';
  } catch (error) {
    if (!(error instanceof EnrollProblems)) throw error;
    const { problems } = error;
    if (request.json) io.print(jsonText({ changed: false, problems }));
    else
      for (const { where, client, found, next } of problems) {
        const tried = client === null ? 'enroll that client' : `enroll "${client}"`;
        io.warn(io.plain(`dialback: ${where}: ${new Fault({ tried, found, next }).text()}\n`));
      }
    throw error;
  }
}

const DID = {
  added: 'enrolled',
  kept: 'unchanged',
  updated: 'enrolled again: same key, new command',
  replaced: 'enrolled with its new key; the old one is removed',
  rotating: 'accepted with both keys, until the first good run with the new key',
} as const;

/** A line for each client, and the changes of the host itself. */
function manyText(result: ClientsEnrolled): string {
  const { clients, authorizedKeys } = result;
  const changed = clients.filter(each => each.did !== 'kept').length;
  const sum =
    changed === 0
      ? `unchanged: ${clients.length} ${clients.length === 1 ? 'client' : 'clients'} in "${authorizedKeys}"`
      : `changed ${changed} of ${clients.length} in "${authorizedKeys}"`;
  return `${createdText(result)}${clients.map(each => `${each.client}: ${DID[each.did]}\n`).join('')}${sum}\n`;
}

/** The same for programs. */
function manyJson({
  clients,
  authorizedKeys,
  configWritten,
  storeCreated,
  target,
  hostKey,
}: ClientsEnrolled) {
  const isChanged = clients.some(each => each.did !== 'kept');
  return {
    changed: isChanged || configWritten !== undefined || storeCreated !== undefined,
    clients: clients.map(({ client, did }) => ({ client, did: did === 'kept' ? 'unchanged' : did })),
    authorized_keys: authorizedKeys,
    config_written: configWritten?.path ?? null,
    store_created: storeCreated ?? null,
    target,
    host_key: hostKey === undefined ? null : showKey(hostKey.key),
  };
}

/** The output of enroll: its result, and the next command, which is the client's. */
export function enrollText(name: string, result: EnrollResult): string {
  const did = {
    added: `enrolled "${name}"`,
    kept: `"${name}" was enrolled with this key already`,
    updated: `enrolled "${name}" again: same key, new command`,
    replaced: `enrolled "${name}" with its new key; the old one is removed`,
    rotating: `"${name}" is accepted with both keys, until the first good run with the new one,`,
  }[result.did];
  if (result.did === 'rotating')
    return `${did} in "${result.authorizedKeys}"\n${nextCommandText('on the client', 'dialback rotate-key')}`;
  return `${createdText(result)}${did} in "${result.authorizedKeys}"\n${nextText(name, result)}`;
}

/** The config and the store, if they were made. */
function createdText({ storeCreated, configWritten, noJail }: Omit<ClientsEnrolled, 'clients'>): string {
  const store = storeCreated === undefined ? '' : `created the store "${storeCreated}"\n`;
  const wrote = configWritten
    ? `wrote "${configWritten.path}": backups go to "${configWritten.store}"\n`
    : '';
  const open = noJail === undefined ? '' : `${noJailLine(noJail)}\n`;
  return `${wrote}${open}${store}`;
}

/** @param reason why the kernel cannot confine the receiving rsync */
function noJailLine(reason: string): string {
  return `with confined = false in it: ${reason}`;
}

/** The command for the client, and the values in it that a person must check. */
function nextText(name: string, { target, hostKey }: EnrollResult): string {
  const key = hostKey
    ? `this host's key: ${fingerprint(hostKey.key)} (${hostKey.path})`
    : 'no public key of this host is in /etc/ssh: write the one that its sshd has (sshd_config, HostKey) for KEY';
  const command = `dialback init --name ${name} --target ${target} --host-key ${quoteForShell(hostKey ? showKey(hostKey.key) : 'KEY')}`;
  return [
    key,
    `make sure that the client reaches this host by the name in "${target}"; with a port it is ssh://${target}:PORT`,
    nextCommandText('on the client', command),
  ].join('\n');
}

/**
 * The same with --local.
 * @param isClient whether this account has a client.toml already
 */
function enrollLocalText(
  { name, config }: Pick<EnrollRequest, 'name' | 'config'>,
  result: LocalEnrollResult,
  isClient: boolean,
): string {
  const { store, isNew } = result;
  const init = `dialback init --name ${name} --transport local --target ${quoteForShell(store)}`;
  const told = [
    ...(result.isConfigNew ? [`wrote "${result.config}": backups go to "${store}"`] : []),
    ...(result.noJail === undefined ? [] : [noJailLine(result.noJail)]),
    ...(result.isStoreNew ? [`created the store "${store}"`] : []),
    isNew ? `"${store}" keeps the backups of "${name}"` : `"${store}" kept the backups of "${name}" already`,
  ];
  if (isClient) return `${told.join('\n')}\nnext: dialback backup\n`;
  const named =
    config === undefined ? '' : `then, in its [[remote]]: host_config = ${JSON.stringify(config)}\n`;
  return `${told.join('\n')}\n${nextCommandText('as this account', init)}${named}`;
}
