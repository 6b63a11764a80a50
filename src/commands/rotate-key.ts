/** `dialback rotate-key`: gives a client a new key. */
import { NotAccepted, type Rotated, rotateKey as rotate } from '../client/rotate-key.ts';
import { jsonText } from '../output/json.ts';
import { nextCommandText } from '../output/next-command.ts';
import { configPath } from '../shared/toml.ts';
import { encodeEnrollment } from '../wire/enrollment.ts';
import { quoteForShell } from '../wire/text.ts';
import { Arguments, type Command, JSON_OPTION } from './command.ts';

interface RotateRequest {
  config: string | undefined;
  identity: string | undefined;
  cancel: boolean;
  batch: boolean;
  json: boolean;
}

export const rotateKey: Command<RotateRequest> = {
  name: 'rotate-key',
  usage: 'rotate-key [--cancel] [--identity F] [--config F] [--batch|--json]',
  side: 'client',
  summary: 'make a new key beside the old one, and, once the host accepts it, put it into use',
  options: [
    { name: 'cancel', help: 'drop the new key that is not in use yet' },
    { name: 'identity', value: 'F', help: 'the key to replace, where client.toml has several' },
    { name: 'config', value: 'F', help: 'read this client.toml' },
    { name: 'batch', help: 'for scripts: print only the line for `enroll --from - --rotate`' },
    JSON_OPTION,
  ],
  positionals: [],

  parse(words) {
    const given = new Arguments(rotateKey, words);
    return {
      ...{ config: given.path('config'), identity: given.path('identity'), cancel: given.has('cancel') },
      ...{ batch: given.has('batch'), json: given.has('json') },
    };
  },

  async run(request, io) {
    const { batch, json } = request;
    const print = (result: Rotated): void => {
      const { client, did, identity, publicKey, hosts } = result;
      const line = publicKey === undefined ? null : encodeEnrollment(client, publicKey);
      if (json) io.print(jsonText({ client, did, identity, hosts, enroll: line }));
      else if (!batch) io.print(rotatedText(result));
      else if (line !== null) io.print(`${line}\n`);
    };
    try {
      print(
        await rotate({ ...request, config: configPath('client.toml', request.config) }, io.interruption()),
      );
      return 'done';
    } catch (error) {
      // A script can enroll the key and call again.
      if (error instanceof NotAccepted && batch && !json)
        io.print(`${encodeEnrollment(error.client, error.publicKey)}\n`);
      else if (error instanceof NotAccepted && !json) io.print(enrollText(error.client, error.publicKey));
      throw error;
    }
  },
};

function enrollText(client: string, publicKey: string): string {
  return nextCommandText(
    'on the backup host, as the account that receives',
    `echo ${quoteForShell(`${publicKey} ${client}`)} | dialback enroll ${client} - --rotate`,
  );
}

function rotatedText({ client, did, identity, publicKey = '', hosts }: Rotated): string {
  if (did === 'canceled') return `dropped the new key; "${identity}" stays in use\n`;
  if (did === 'made')
    return `made a new key; "${identity}" stays in use until the host accepts it\n${enrollText(client, publicKey)}then, here: dialback rotate-key\n`;
  return `the new key is in use: "${identity}"; the old one ends with the next backup to ${hosts.join(', ')}\nnext: dialback backup\n`;
}
