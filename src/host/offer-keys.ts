/**
 * The key of an offer: one line of authorized_keys, for a machine that is not enrolled, such as a rescue system. It runs `grab` for one
 * offer, and is removed when the offer is used, revoked or expired.
 */
import { now } from '../os/clock.ts';
import { opensshVersion } from '../os/versions.ts';
import { isOpen, listOffers, type Offer } from '../store/offer.ts';
import type { ClientStore } from '../store/store.ts';
import type { PublicKey } from '../wire/key.ts';
import { quoteForShell } from '../wire/text.ts';
import { enrolledName, openKeys, writeKeys } from './authorized-keys.ts';

/** The parts of the line. Executable and config are paths. */
interface OfferCommand {
  executable: string;
  id: string;
  name: string;
  config: string;
}

/** The command that the key of an offer is bound to, as sshd passes it to the account's shell. */
export function offerCommand({ executable, id, name, config }: OfferCommand): string {
  return `${quoteForShell(executable)} grab --offer ${id} --client ${name} --config ${quoteForShell(config)}`;
}

/** The line of authorized_keys for an offer. @param stamp of `expiryStamp` */
export function offerLine(command: OfferCommand, stamp: string, { type, blob }: PublicKey): string {
  const quoted = offerCommand(command).replaceAll('"', '\\"');
  return `restrict,expiry-time="${stamp}",command="${quoted}" ${type} ${blob} dialback-offer-${command.id}`;
}

/** @returns the id of the offer that a line of authorized_keys is for; undefined if `offer` did not write the line */
export function offerOf(line: string): string | undefined {
  return /^restrict,expiry-time="\d{14}Z?",command="'(?:[^"\\]|\\.)*' grab --offer ([0-9a-f]{8}) --client [a-z0-9]/.exec(
    line,
  )?.[1];
}

/**
 * A time as sshd reads `expiry-time` (sshd(8)). Only OpenSSH 9.1 and newer accept UTC. Older ones take it in this machine's zone.
 * @param hasUtc whether the sshd here accepts UTC
 */
export function expiryStamp(time: Date, hasUtc: boolean): string {
  const local = new Date(time.getTime() - time.getTimezoneOffset() * 60_000);
  const stamp = (hasUtc ? time : local).toISOString().slice(0, 19).replace(/[-:T]/g, '');
  return hasUtc ? `${stamp}Z` : stamp;
}

/** Whether a version of OpenSSH accepts UTC in `expiry-time`. */
export function knowsUtc(version: string): boolean {
  const [, major, minor] = /^(\d+)\.(\d+)/.exec(version) ?? [];
  return Number(major) > 9 || (Number(major) === 9 && Number(minor) >= 1);
}

/** Adds the line of an offer to the file. @throws Fault `locked`; Fault with a reason where the file has the key already */
export async function addKey(
  file: string,
  command: OfferCommand,
  expires: Date,
  key: PublicKey,
): Promise<string | undefined> {
  await using held = new AsyncDisposableStack();
  const lines = await openKeys(held, file);
  const same = lines.find(each => !each.startsWith('#') && each.split(/\s+/).includes(key.blob));
  if (same !== undefined) {
    const owner = enrolledName(same);
    if (owner !== undefined) return `the key is enrolled, for "${owner}": it needs no --key`;
    return offerOf(same) === undefined
      ? 'the file has this key already, without a command of dialback'
      : `offer ${offerOf(same)} has this key`;
  }
  const line = offerLine(command, expiryStamp(expires, knowsUtc(await opensshVersion())), key);
  writeKeys(file, [...lines, Buffer.from(line, 'utf8').toString('latin1')]);
  return undefined;
}

/** Removes the line of an offer. Does nothing for an offer without a key. */
export async function dropKey({ id, key }: Offer): Promise<void> {
  if (key !== null) await dropLines(key.authorized_keys, new Set([id]));
}

/** Removes the lines of a client's offers that are not open any more. */
export async function dropExpiredKeys(client: ClientStore): Promise<void> {
  const ended = listOffers(client).filter(each => each.key !== null && !isOpen(each, now()));
  for (const file of new Set(ended.flatMap(each => each.key?.authorized_keys ?? [])))
    await dropLines(
      file,
      new Set(ended.filter(each => each.key?.authorized_keys === file).map(each => each.id)),
    );
}

async function dropLines(file: string, ids: ReadonlySet<string>): Promise<void> {
  await using held = new AsyncDisposableStack();
  const lines = await openKeys(held, file);
  const rest = lines.filter(line => !ids.has(offerOf(line) ?? ''));
  if (rest.length < lines.length) writeKeys(file, rest);
}
