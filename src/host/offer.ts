/** `dialback offer`: lets a client fetch a part of one snapshot, once, within a limited time. */
import { randomBytes } from 'node:crypto';
import { Fault } from '../fault.ts';
import { ownAccount } from '../os/account.ts';
import { now } from '../os/clock.ts';
import { exists, readdir, realPath, removeFileIfThere } from '../os/files.ts';
import { randomHex } from '../os/random.ts';
import { hostName } from '../os/uname.ts';
import { encodeOffer, listOffers, type Offer, staleOffers, writeOffer } from '../store/offer.ts';
import { retiredSince } from '../store/retirement.ts';
import { openSnapshot, type Snapshot } from '../store/snapshot.ts';
import { type ClientStore, openClient, openStore, recordEvent } from '../store/store.ts';
import { covers, isInside, pathInside } from '../store/tree-path.ts';
import { fingerprint, type PublicKey } from '../wire/key.ts';
import { codeDigest, encodeCode, SECRET_BYTES } from '../wire/offer-code.ts';
import { escapeText, jsonName } from '../wire/text.ts';
import { readHostConfig } from './config.ts';
import { readKey, requireQuotable, requireReceiver, trustedExecutable } from './enroll.ts';
import { ownTarget, readHostKey } from './host-identity.ts';
import { addKey, dropExpiredKeys, dropKey } from './offer-keys.ts';

/** The most characters of an offer's record. rsync's arguments have a limit too: 2 MiB on Linux, with the environment. */
const PATHS_LIMIT = 1024 * 1024;

interface OfferPlace {
  /** The path of host.toml. */
  config: string;
  client: string;
}

interface OfferOptions extends OfferPlace {
  /** As `findSnapshot` takes it. */
  snapshot: string;
  /** Absolute, as on the client. If empty, everything. */
  paths: string[];
  /** Milliseconds until it expires. */
  validMs: number;
  /** The path of the public key that may use it, or `-`; undefined: the client's enrolled key may. */
  keyFile: string | undefined;
}

/** A new offer. */
export interface NewOffer {
  offer: Offer;
  /** The code. It is nowhere else: only this result has it. */
  code: string;
  /** With a key: the words by which the client finds this host. */
  host: { target: string; key: PublicKey | undefined } | undefined;
}

/** Makes an offer. @throws Fault where a path is not in the snapshot, or where no key could use the offer */
export async function makeOffer(options: OfferOptions): Promise<NewOffer> {
  const client = await openOffers(options, 'offer');
  const { store } = readHostConfig(options.config);
  const { snapshot } = openSnapshot({ ...options, store });
  if (options.keyFile === undefined && retiredSince(client) !== undefined)
    throw new Fault({
      tried: `offer files to "${client.name}"`,
      found: 'it is not enrolled',
      next: 'dialback offer NAME --key KEYFILE, with the public key of the machine that fetches',
      exit: 'refused',
    });
  const paths = choosePaths(snapshot, options.paths);
  const code = encodeCode(randomBytes(SECRET_BYTES));
  const created = now();
  const expires = new Date(created.getTime() + options.validMs);
  const id = randomHex(4);
  const key = options.keyFile === undefined ? undefined : readKey(options.keyFile);
  const file = `${ownAccount().home}/.ssh/authorized_keys`;
  const offer: Offer = {
    version: 1,
    id,
    snapshot: snapshot.name,
    paths: paths.map(jsonName),
    created: created.toISOString(),
    expires: expires.toISOString(),
    code_sha256: codeDigest(code),
    state: 'open',
    ended: null,
    key: key === undefined ? null : { fingerprint: fingerprint(key), authorized_keys: file },
  };
  requireShort(offer);
  // Before its key: a line without an offer would never be removed.
  writeOffer(client, offer);
  if (key !== undefined) await enrollKey(client, offer, { file, key, config: options.config, expires });
  recordEvent(client, 'offered', { offer: id, snapshot: snapshot.name, expires: offer.expires });
  const host =
    key === undefined
      ? undefined
      : { target: ownTarget(ownAccount().name, hostName()), key: readHostKey()?.key };
  return { offer, code, host };
}

/** The client reads all paths as one line. */
function requireShort(offer: Offer): void {
  if (encodeOffer(offer).length <= PATHS_LIMIT) return;
  throw new Fault({
    tried: 'make that offer',
    found: `its paths have more than ${PATHS_LIMIT} characters together`,
    next: 'name a folder above them',
    exit: 'usage',
  });
}

async function enrollKey(
  client: ClientStore,
  offer: Offer,
  { file, key, config: named, expires }: { file: string; key: PublicKey; config: string; expires: Date },
): Promise<void> {
  const config = realPath(named);
  let refusal: string | undefined;
  try {
    requireQuotable(config);
    const command = { executable: trustedExecutable(), id: offer.id, name: client.name, config };
    refusal = await addKey(file, command, expires, key);
    if (refusal === undefined) return;
  } catch (error) {
    withdraw(client, offer);
    throw error;
  }
  withdraw(client, offer);
  throw new Fault({
    tried: `offer files to that key in "${file}"`,
    found: refusal,
    next: `make a key for this purpose on the machine that fetches: ssh-keygen -t ed25519 -N '' -f KEY`,
    exit: 'refused',
  });
}

function withdraw(client: ClientStore, offer: Offer): void {
  writeOffer(client, { ...offer, state: 'revoked', ended: now().toISOString() });
}

/**
 * The paths of an offer below the tree, none of them in another one.
 * @returns none for a whole machine; without PATHs, the roots of the snapshot
 */
function choosePaths(snapshot: Snapshot, named: string[]): Buffer[] {
  const { roots } = snapshot.record.scope;
  const tried = (path: string): string => `offer "${escapeText(path)}"`;
  const asked = named.map(path => pathInside(snapshot, path, tried(path)));
  if (asked.some(path => path.length === 0) || named.length === 0) {
    if (roots.includes('/')) return [];
    const there = roots
      .map(root => Buffer.from(root.slice(1)))
      .filter(root => isInside(snapshot, root, tried(`/${root}`)));
    if (there.length > 0) return topmost(there);
    return readdir(snapshot.tree, { encoding: 'buffer' });
  }
  return topmost(asked);
}

function topmost(paths: Buffer[]): Buffer[] {
  return paths.filter(
    (path, at) =>
      !paths.some(
        (other, index) => index !== at && covers(other, path) && (other.length < path.length || index < at),
      ),
  );
}

/** The offers of a client, oldest first. Removes the keys of those that have expired. */
export async function showOffers(place: OfferPlace): Promise<Offer[]> {
  return listOffers(await openOffers(place, 'offer'));
}

/** Ends an open offer. @throws Fault where the client has no open offer of this id */
export async function revokeOffer(place: OfferPlace, id: string): Promise<Offer> {
  const client = await openOffers(place, 'offer');
  const offer = listOffers(client).find(each => each.id === id);
  if (offer === undefined || offer.state !== 'open')
    throw new Fault({
      tried: `revoke the offer "${escapeText(id, 60)}"`,
      found:
        offer === undefined
          ? `"${client.name}" has no such offer`
          : `it was ${offer.state} at ${offer.ended}`,
      next: `dialback offer ${client.name} --list`,
    });
  const revoked: Offer = { ...offer, state: 'revoked', ended: now().toISOString() };
  writeOffer(client, revoked);
  recordEvent(client, 'offer-revoked', { offer: id, snapshot: offer.snapshot });
  await dropKey(offer);
  return revoked;
}

/** Opens a client for its offers, and cleans up: keys of ended offers, and old records. */
async function openOffers({ config, client: name }: OfferPlace, verb: string): Promise<ClientStore> {
  const { store } = readHostConfig(config);
  openStore(store, verb);
  requireReceiver(store, verb);
  const client = openClient(store, name);
  await dropExpiredKeys(client);
  for (const path of staleOffers(client, now())) if (exists(path)) removeFileIfThere(path);
  return client;
}
