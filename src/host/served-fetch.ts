/**
 * One call of a client that fetches files: the offer is found by its code, its entries are sent, and rsync serves them.
 *
 * Every refusal is the failure `no-offer`, which looks the same to the client whatever its reason is. The reason is in the journal.
 */
import { abortable } from '../os/async.ts';
import { deadlineSignal, now } from '../os/clock.ts';
import { exists } from '../os/files.ts';
import { hasJail } from '../os/launcher.ts';
import { takeLock } from '../os/runfolder.ts';
import { manifestOf } from '../store/manifest.ts';
import { findOffer, listOffers, type Offer, offerLock, whyNotOpen, writeOffer } from '../store/offer.ts';
import { type EntryProblems, offeredEntries } from '../store/offered-entries.ts';
import type { Selection } from '../store/restore-selection.ts';
import { readSnapshot } from '../store/snapshot.ts';
import { type ClientStore, recordEvent } from '../store/store.ts';
import { failedOutcome, failure, type OutcomeEvent } from '../wire/events.ts';
import {
  decodeFetchRequest,
  encodeOfferLine,
  type FetchRequest,
  nameBytes,
  type OfferHead,
} from '../wire/fetch.ts';
import { codeDigest } from '../wire/offer-code.ts';
import { RSYNC_EXIT } from '../wire/rsync-output.ts';
import { jsonName } from '../wire/text.ts';
import { type HostConfig, settingsFor } from './config.ts';
import { dropExpiredKeys, dropKey } from './offer-keys.ts';
import { startServing } from './offered-files.ts';
import { FetchConnection } from './receive-fetch.ts';
import type { Served, ServedCall } from './served-run.ts';

/** The client's folder and the host's config. */
interface Place {
  client: ClientStore;
  config: HostConfig;
}

/**
 * Serves a call `NAME:fetch`.
 * @throws Fault `no-offer` for every refusal; any other where an open offer cannot be served
 */
export async function serveFetch(served: ServedCall, { client, config }: Place): Promise<Served> {
  const { log, interrupt } = served;
  const asked: { offer: string | null; action: string | null } = { offer: null, action: null };
  log.fetch = asked;
  using deadline = deadlineSignal(settingsFor(config, client.name).deadlineMs, () =>
    failure('deadline', 'the deadline has passed'),
  );
  const signal = AbortSignal.any([interrupt, deadline.signal]);
  const connection = new FetchConnection(signal);
  await dropExpiredKeys(client).catch(() => {}); // the next call, or offer, tries again
  const request = readRequest(await connection.request());
  asked.action = request.action;
  const offer = admitOffer(client, request, served.offer);
  asked.offer = offer.id;
  if (request.action === 'done') return await countAsUsed(client, offer);
  await using held = new AsyncDisposableStack();
  if ((await takeLock(held, offerLock(client, offer))) === undefined)
    throw failure('busy', `offer ${offer.id} is being fetched`);
  const selection = selectOffered(client, offer);
  const problems: EntryProblems = { manifest: undefined, unreadable: undefined };
  await connection.send(answerText(selection, problems, signal));
  const found = problems.manifest ?? problems.unreadable;
  const fault = found === undefined ? undefined : failure('internal', found);
  if (request.action === 'list') return { outcome: outcomeOf(offer), fault };
  const ends = await connection.handOver();
  const confined = config.confined ?? hasJail();
  const { tree } = selection.snapshot;
  const rsync = await startServing(held, { tree, paths: selection.paths, confined }, ends);
  const { status } = await abortable(signal, rsync.ended);
  if (status === 0 || status === RSYNC_EXIT.partial || status === RSYNC_EXIT.vanished)
    return { outcome: { ...outcomeOf(offer), rsync_exit: status }, fault };
  const reason = [`rsync ended with status ${status ?? 'unknown'}`, ...rsync.lines].join(' | ');
  return { outcome: failedOutcome('rsync', status), fault: failure('rsync', reason) };
}

function readRequest(line: string | undefined): FetchRequest {
  if (line === undefined) throw failure('no-offer', 'the request is not one line, or did not come in time');
  const decoded = decodeFetchRequest(line);
  if ('reason' in decoded) throw failure('no-offer', `the request: ${decoded.reason}`);
  return decoded.value;
}

/** @param bound the offer that the caller's key is bound to */
function admitOffer(client: ClientStore, { code }: FetchRequest, bound: string | undefined): Offer {
  const offer = findOffer(listOffers(client), codeDigest(code));
  if (offer === undefined) throw failure('no-offer', 'no offer of this client has this code');
  if (offer.id !== bound && (bound !== undefined || offer.key !== null))
    throw failure('no-offer', `the code of offer ${offer.id} was used with another key`);
  const reason = whyNotOpen(offer, now());
  if (reason !== undefined) throw failure('no-offer', `offer ${offer.id}: ${reason}`);
  return offer;
}

async function countAsUsed(client: ClientStore, offer: Offer): Promise<Served> {
  writeOffer(client, { ...offer, state: 'used', ended: now().toISOString() });
  recordEvent(client, 'offer-used', { offer: offer.id, snapshot: offer.snapshot });
  await dropKey(offer).catch(() => {}); // the next call, or offer, tries again
  return { outcome: outcomeOf(offer), fault: undefined };
}

function selectOffered(client: ClientStore, offer: Offer): Selection {
  const snapshot = readSnapshot(client, offer.snapshot);
  if (!exists(snapshot.tree)) throw failure('internal', `there is no snapshot ${offer.snapshot} any more`);
  const paths = offer.paths.map(path => nameBytes(path) ?? Buffer.alloc(0));
  return { client, snapshot, newer: [], paths, isWholeMachine: paths.length === 0 };
}

async function* answerText(
  selection: Selection,
  problems: EntryProblems,
  signal: AbortSignal,
): AsyncGenerator<string> {
  const { client, snapshot, paths } = selection;
  const head: OfferHead = {
    snapshot: snapshot.name,
    state: snapshot.record.state,
    paths: paths.length === 0 ? ['/'] : paths.map(path => jsonName(Buffer.concat([Buffer.from('/'), path]))),
    hasManifest: exists(manifestOf(client, snapshot.name)),
  };
  yield encodeOfferLine(head);
  for await (const entry of offeredEntries(selection, problems, signal)) yield encodeOfferLine(entry);
}

function outcomeOf({ snapshot }: Offer): OutcomeEvent {
  return { ...failedOutcome('internal'), outcome: 'full', code: null, snapshot };
}
