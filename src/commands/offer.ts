/** `dialback offer`: lets a client fetch files of a snapshot, once. */
import { makeOffer, type NewOffer, revokeOffer, showOffers } from '../host/offer.ts';
import { now } from '../os/clock.ts';
import { jsonText } from '../output/json.ts';
import { nextCommandText } from '../output/next-command.ts';
import { table } from '../output/table.ts';
import { configPath } from '../shared/toml.ts';
import { isOpen, type Offer } from '../store/offer.ts';
import { nameBytes } from '../wire/fetch.ts';
import { showKey } from '../wire/key.ts';
import { parseDuration } from '../wire/quantity.ts';
import { jsonName, quoteForShell, showName } from '../wire/text.ts';
import { Arguments, type Command, JSON_OPTION } from './command.ts';
import { HOST_CONFIG } from './host-store.ts';
import { readTarget } from './target.ts';

type OfferRequest = {
  client: string;
  snapshot: string;
  paths: string[];
  config: string | undefined;
  json: boolean;
} & (
  | { does: 'make'; validMs: number; keyFile: string | undefined }
  | { does: 'list' }
  | { does: 'revoke'; id: string }
);

const DAY = '24h';
/** A minute to a year: an offer is for a restore that is about to be done. */
const [SHORTEST_MS, LONGEST_MS] = [60_000, 366 * 86_400_000];

export const offer: Command<OfferRequest> = {
  name: 'offer',
  usage:
    'offer NAME[@SNAPSHOT] [PATH…] [--for 24h] [--key KEYFILE|-] [--list] [--revoke ID] [--config F] [--json]',
  side: 'host',
  summary: 'let the client fetch files of a snapshot, once; print the command for it',
  options: [
    { name: 'for', value: 'TIME', help: `how long the offer is open; ${DAY} where it is not given` },
    {
      name: 'key',
      value: 'KEYFILE|-',
      help: 'for a machine that is not enrolled: the public key that may fetch',
    },
    { name: 'list', help: 'show the offers of the client' },
    { name: 'revoke', value: 'ID', help: 'end this offer' },
    HOST_CONFIG,
    JSON_OPTION,
  ],
  positionals: [{ name: 'NAME[@SNAPSHOT]' }, { name: 'PATH', isOptional: true, isRepeated: true }],

  parse(words) {
    const given = new Arguments(offer, words);
    const [first = '', ...paths] = given.positionals;
    const common = { ...readTarget(first), paths, config: given.path('config'), json: given.has('json') };
    const [id, keyFile] = [given.text('revoke'), given.text('key')];
    const span = given.text('for');
    if (given.has('list') || id !== undefined) {
      if (given.has('list') && id !== undefined) throw given.refuse('--list and --revoke exclude each other');
      if (paths.length > 0 || first.includes('@') || span !== undefined || keyFile !== undefined)
        throw given.refuse(
          `${id === undefined ? '--list' : '--revoke'} takes a client's name and nothing else`,
        );
      return id === undefined ? { ...common, does: 'list' } : { ...common, does: 'revoke', id };
    }
    const validMs = parseDuration(span ?? DAY);
    if (validMs === undefined || validMs < SHORTEST_MS || validMs > LONGEST_MS)
      throw given.refuse('--for takes a duration from 1m to 366d, such as 24h');
    return { ...common, does: 'make', validMs, keyFile };
  },

  async run(request, io) {
    const place = { ...request, config: configPath('host.toml', request.config) };
    if (request.does === 'list') {
      const offers = await showOffers(place);
      io.print(request.json ? jsonText(offers.map(publicOffer)) : listText(offers));
    } else if (request.does === 'revoke') {
      const revoked = await revokeOffer(place, request.id);
      io.print(request.json ? jsonText(publicOffer(revoked)) : `revoked the offer ${revoked.id}\n`);
    } else {
      const made = await makeOffer({ ...place, ...request, config: place.config });
      const command = fetchCommand(made);
      io.print(
        request.json
          ? jsonText({ ...publicOffer(made.offer), code: made.code, command })
          : madeText(made, command, request.client),
      );
    }
    return 'done';
  },
};

/** The command for the client. */
function fetchCommand({ code, host }: NewOffer): string {
  if (host === undefined) return `dialback fetch ${code} --to DIR`;
  const key = host.key === undefined ? 'KEY' : showKey(host.key);
  return `dialback fetch ${code} --to DIR --target ${host.target} --host-key ${quoteForShell(key)} --identity KEYFILE`;
}

function madeText(made: NewOffer, command: string, name: string): string {
  const { offer: it } = made;
  const what = it.paths.length === 0 ? 'everything' : pathsText(it);
  const key =
    it.key === null
      ? ''
      : `only the key ${it.key.fingerprint} can use it: its line is in "${it.key.authorized_keys}"\n`;
  return [
    `offered ${name}@${it.snapshot}, once, until ${it.expires}: ${what}\n`,
    key,
    `to end it earlier: dialback offer ${name} --revoke ${it.id}\n`,
    nextCommandText('on the client', command),
  ].join('');
}

function pathsText({ paths }: Offer): string {
  return paths
    .map(path => showName(jsonName(Buffer.concat([Buffer.from('/'), nameBytes(path) ?? Buffer.alloc(0)]))))
    .join(' ');
}

function stateText(it: Offer): string {
  return it.state === 'open' && !isOpen(it, now()) ? 'expired' : it.state;
}

function listText(offers: Offer[]): string {
  const rows = offers.map(it => [
    it.id,
    it.snapshot,
    stateText(it),
    it.ended ?? it.expires,
    it.key === null ? 'enrolled' : it.key.fingerprint,
    it.paths.length === 0 ? '/' : pathsText(it),
  ]);
  return table(['id', 'snapshot', 'state', 'until', 'key', 'paths'], rows);
}

/** An offer without the digest of its code. */
function publicOffer(it: Offer): object {
  const { code_sha256: _, version: __, ...rest } = it;
  return { ...rest, state: stateText(it) };
}
