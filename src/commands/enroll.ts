/** `dialback enroll`: lets a client ask this host for backups. */
import {
  type EnrollResult,
  enroll as enrollKey,
  enrollLocally,
  type LocalEnrollResult,
} from '../host/enroll.ts';
import { nextCommandText } from '../output/next-command.ts';
import { findConfig } from '../shared/toml.ts';
import { fingerprint, showKey } from '../wire/key.ts';
import { quoteForShell } from '../wire/text.ts';
import { Arguments, type Command } from './command.ts';

interface EnrollRequest {
  name: string;
  /** Undefined with --local: no key is enrolled, and the store serves this machine. */
  keyFile: string | undefined;
  config: string | undefined;
  store: string | undefined;
  replace: boolean;
  authorizedKeys: string | undefined;
}

export const enroll: Command<EnrollRequest> = {
  name: 'enroll',
  usage: 'enroll NAME KEYFILE|-|--local [--store DIR] [--config F] [--replace] [--authorized-keys F]',
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
    { name: 'local', help: 'enroll this account, for a store on a disk of this machine; there is no key' },
  ],
  positionals: [{ name: 'NAME' }, { name: 'KEYFILE|-', isOptional: true }],

  parse(words) {
    const given = new Arguments(enroll, words);
    const [name = '', keyFile] = given.positionals;
    const isLocal = given.has('local');
    if (isLocal === (keyFile !== undefined))
      throw given.refuse(isLocal ? '--local takes no key' : 'an argument is missing');
    if (isLocal && (given.has('replace') || given.text('authorized-keys') !== undefined))
      throw given.refuse('with --local there is no key to replace, and no authorized_keys');
    return {
      name,
      keyFile,
      config: given.path('config'),
      store: given.path('store'),
      replace: given.has('replace'),
      authorizedKeys: given.path('authorized-keys'),
    };
  },

  async run(request, io) {
    const { name, keyFile } = request;
    io.print(
      keyFile === undefined
        ? enrollLocalText(request, await enrollLocally(request), findConfig('client.toml') !== undefined)
        : enrollText(name, await enrollKey({ ...request, keyFile })),
    );
    return 'done';
  },
};

/** The output of enroll: its result, and the next command, which is the client's. */
export function enrollText(name: string, result: EnrollResult): string {
  const did = {
    added: `enrolled "${name}"`,
    kept: `"${name}" was enrolled with this key already`,
    updated: `enrolled "${name}" again: same key, new command`,
    replaced: `enrolled "${name}" with its new key; the old one is removed`,
  }[result.did];
  const store = result.storeCreated === undefined ? '' : `created the store "${result.storeCreated}"\n`;
  const wrote = result.configWritten
    ? `wrote "${result.configWritten.path}": backups go to "${result.configWritten.store}"\n`
    : '';
  const open = result.noJail === undefined ? '' : `${noJailLine(result.noJail)}\n`;
  return `${wrote}${open}${store}${did} in "${result.authorizedKeys}"\n${nextText(name, result)}`;
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
