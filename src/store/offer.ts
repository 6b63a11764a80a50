/**
 * Offers: a client may fetch a part of one snapshot, once. An offer is a file in the client's folder, offers/ID.json. It has the
 * digest of the offer's code, never the code. While an offer is open, no rule removes its snapshot.
 */
import type { Parsed } from '../fault.ts';
import { readWhole } from '../os/content.ts';
import { exists, makeFolder, readdir } from '../os/files.ts';
import { replaceFile } from '../os/replace.ts';
import { nameBytes } from '../wire/fetch.ts';
import { parseJson } from '../wire/json.ts';
import { isSameDigest } from '../wire/offer-code.ts';
import { type JsonName, snapshotTime } from '../wire/text.ts';
import type { ClientStore } from './store.ts';

/** The state of an offer. `expired` is not written: the time decides. */
export type OfferState = 'open' | 'used' | 'revoked';

/** The content of offers/ID.json. */
export interface Offer {
  version: 1;
  id: string;
  snapshot: string;
  /** Below the tree, without a leading slash. If empty, the whole tree. */
  paths: JsonName[];
  /** ISO 8601, UTC. */
  created: string;
  expires: string;
  /** `codeDigest` of the code. */
  code_sha256: string;
  state: OfferState;
  /** When it was used or revoked. */
  ended: string | null;
  /** The key that may use it, in place of the client's enrolled key. */
  key: { fingerprint: string; authorized_keys: string } | null;
}

/** The form of an offer's id: it names a file, and stands in authorized_keys. */
const OFFER_ID = /^[0-9a-f]{8}$/;
const FOLDER = 'offers';
const OFFER_LIMIT = 4 * 1024 * 1024;
/** Ended offers that are kept for `offer --list`. */
const KEPT_ENDED = 20;

const isTime = (value: unknown): boolean =>
  typeof value === 'string' &&
  /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/.test(value) &&
  !Number.isNaN(Date.parse(value));

const CHECKS: Record<keyof Offer, (value: unknown) => boolean> = {
  version: value => value === 1,
  id: value => typeof value === 'string' && OFFER_ID.test(value),
  snapshot: value => typeof value === 'string' && snapshotTime(value) !== undefined,
  paths: value =>
    Array.isArray(value) &&
    value.every(each => (nameBytes(each)?.length ?? 0) > 0 && !nameBytes(each)?.includes(0)),
  created: isTime,
  expires: isTime,
  code_sha256: value => typeof value === 'string' && /^[0-9a-f]{64}$/.test(value),
  state: value => value === 'open' || value === 'used' || value === 'revoked',
  ended: value => value === null || isTime(value),
  key: value => value === null || isKey(value),
};

function isKey(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const { fingerprint, authorized_keys: file, ...rest } = value as Record<string, unknown>;
  return (
    Object.keys(rest).length === 0 &&
    typeof fingerprint === 'string' &&
    typeof file === 'string' &&
    file.startsWith('/')
  );
}

/** Encodes an offer as the content of its file. */
export function encodeOffer(offer: Offer): string {
  return `${JSON.stringify(offer)}\n`;
}

/** Decodes the content of an offer's file. Unknown and missing keys are refused. */
export function decodeOffer(text: string): Parsed<Offer> {
  const parsed = parseJson(text);
  if ('reason' in parsed) return { reason: `it ${parsed.reason}` };
  const fields = parsed.value as Record<string, unknown>;
  if (typeof fields !== 'object' || fields === null || Array.isArray(fields))
    return { reason: 'it is not an object' };
  if (Object.keys(fields).some(key => !Object.hasOwn(CHECKS, key)))
    return { reason: 'it has an unknown key' };
  for (const [key, isGood] of Object.entries(CHECKS))
    if (!isGood(fields[key])) return { reason: `it has no acceptable "${key}"` };
  const offer = fields as unknown as Offer;
  if ((offer.state === 'open') !== (offer.ended === null))
    return { reason: '"state" and "ended" contradict each other' };
  return { value: offer };
}

/** Whether an offer can still be used. */
export function isOpen({ state, expires }: Offer, now: Date): boolean {
  return state === 'open' && now.getTime() < Date.parse(expires);
}

/** Why an offer cannot be used, for the host's journal; undefined if it can. */
export function whyNotOpen(offer: Offer, now: Date): string | undefined {
  if (isOpen(offer, now)) return undefined;
  return offer.state === 'open'
    ? `it expired at ${offer.expires}`
    : `it was ${offer.state} at ${offer.ended}`;
}

/**
 * Finds the offer of a code.
 * @param digest of `codeDigest`. It is compared with every offer, in constant time
 */
export function findOffer(offers: readonly Offer[], digest: string): Offer | undefined {
  return offers.filter(each => isSameDigest(each.code_sha256, digest))[0];
}

function folderOf(client: ClientStore): string {
  return `${client.folder}/${FOLDER}`;
}

/** All offers of a client, oldest first. A damaged file is no offer. */
export function listOffers(client: ClientStore): Offer[] {
  const folder = folderOf(client);
  if (!exists(folder)) return [];
  const names = readdir(folder).filter(name => name.endsWith('.json'));
  return names
    .flatMap(name => readOffer(`${folder}/${name}`, name))
    .sort((one, other) => (one.created < other.created ? -1 : 1));
}

function readOffer(path: string, name: string): Offer[] {
  try {
    const found = decodeOffer(readWhole(path, OFFER_LIMIT).toString('utf8'));
    return 'value' in found && name === `${found.value.id}.json` ? [found.value] : [];
  } catch {
    return [];
  }
}

/** Writes an offer, new or changed. */
export function writeOffer(client: ClientStore, offer: Offer): void {
  makeFolder(folderOf(client));
  replaceFile(`${folderOf(client)}/${offer.id}.json`, encodeOffer(offer));
}

/** The lock that a transfer of an offer holds. */
export function offerLock(client: ClientStore, { id }: Offer): string {
  return `${folderOf(client)}/${id}.lock`;
}

/** The files of the ended offers that are older than the newest KEPT_ENDED, to be removed. */
export function staleOffers(client: ClientStore, now: Date): string[] {
  const ended = listOffers(client).filter(each => !isOpen(each, now));
  return ended
    .slice(0, Math.max(0, ended.length - KEPT_ENDED))
    .flatMap(offer => [`${folderOf(client)}/${offer.id}.json`, offerLock(client, offer)]);
}

/** The snapshots with an open offer, and when the last one of each expires (ISO 8601). */
export function offeredSnapshots(client: ClientStore, now: Date): Map<string, string> {
  const found = new Map<string, string>();
  for (const offer of listOffers(client)) {
    if (!isOpen(offer, now)) continue;
    const known = found.get(offer.snapshot);
    if (known === undefined || known < offer.expires) found.set(offer.snapshot, offer.expires);
  }
  return found;
}
