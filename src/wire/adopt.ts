/**
 * The messages between `dialback adopt` and its child. The parent reads the tree that is adopted, as root where that is
 * needed; the child is the account that owns the store, and writes it. The parent does not trust the child more than that
 * account.
 */
import { EXIT, type ExitName, Fault, type Parsed } from '../fault.ts';
import { escapeText, NAME, SNAPSHOT } from './text.ts';

/** The internal command of the child. */
export const RECEIVE_ADOPTED = 'receive-adopted';

/** The descriptor of the child's order. */
export const ORDER_DESCRIPTOR = 3;

/** An order to the child, before the NUL. The names of doubtful files follow, each ended by a NUL. */
export interface AdoptOrder {
  /** `receive` writes an attempt, `commit` makes it a snapshot. */
  step: 'receive' | 'commit';
  /** The store's folder. */
  store: string;
  client: string;
  snapshot: string;
  /** The folder of the client that the tree holds. */
  at: string;
  roots: string[];
  /** The folder that is adopted, for the record. */
  from: string;
  /** The snapshot to link against; null if there is none. */
  basis: string | null;
  /** Whether the content of files is compared with that snapshot's. */
  checksum: boolean;
  /** The tree whose own files may become a part of the snapshot; null: every file is copied. */
  link: string | null;
  /** Whether the rsync that writes runs in the jail. */
  confined: boolean;
  /** The same for the rsync that reads. */
  senderConfined: boolean;
}

/** Encodes an order. */
export function encodeOrder(order: AdoptOrder, doubtful: readonly Buffer[]): Buffer[] {
  const nul = Buffer.from([0]);
  return [Buffer.from(JSON.stringify(order)), nul, ...doubtful.flatMap(each => [each, nul])];
}

/** Decodes an order. */
export function decodeOrder(bytes: Buffer): Parsed<{ order: AdoptOrder; doubtful: Buffer[] }> {
  const end = bytes.indexOf(0);
  if (end < 0) return { reason: 'the order has no end' };
  try {
    const order = JSON.parse(bytes.toString('utf8', 0, end)) as AdoptOrder;
    const isNamed = NAME.test(order.client) && SNAPSHOT.test(order.snapshot);
    if (!isNamed || (order.basis !== null && !SNAPSHOT.test(order.basis)))
      return { reason: 'the order names no snapshot' };
    return { value: { order, doubtful: splitNames(bytes.subarray(end + 1)) } };
  } catch {
    return { reason: 'the order is not JSON' };
  }
}

function splitNames(bytes: Buffer): Buffer[] {
  const names: Buffer[] = [];
  for (let from = 0, end = bytes.indexOf(0); end >= 0; from = end + 1, end = bytes.indexOf(0, from))
    names.push(bytes.subarray(from, end));
  return names;
}

/** The result of a step. */
export interface AdoptCounts {
  files: number;
  /** Files that are a hard link of one that was there before. */
  linked: number;
  /** Bytes of the files that are none. */
  new_bytes: number;
}

const ANSWER = 'dialback-adopted: ';

/** The line of standard error that ends a step. */
export function encodeAnswer(answer: AdoptCounts | Fault): string {
  const value =
    answer instanceof Fault
      ? { tried: answer.tried, found: answer.found, next: answer.next, exit: answer.exit }
      : answer;
  return `${ANSWER}${JSON.stringify(value)}\n`;
}

/** @returns undefined for any other line */
export function decodeAnswer(line: string): AdoptCounts | Fault | undefined {
  if (!line.startsWith(ANSWER)) return undefined;
  try {
    const value = JSON.parse(line.slice(ANSWER.length)) as Record<string, unknown>;
    if (typeof value.found === 'string') return faultOf(value);
    const { files, linked, new_bytes } = value;
    return { files: countOf(files), linked: countOf(linked), new_bytes: countOf(new_bytes) };
  } catch {
    return undefined;
  }
}

const countOf = (value: unknown): number => (Number.isSafeInteger(value) ? (value as number) : 0);

function faultOf({ tried, found, next, exit }: Record<string, unknown>): Fault {
  const isExit = typeof exit === 'string' && Object.hasOwn(EXIT, exit);
  return new Fault({
    tried: escapeText(String(tried), 1000),
    found: escapeText(String(found), 4000),
    ...(typeof next === 'string' ? { next: escapeText(next, 1000) } : {}),
    exit: isExit ? (exit as ExitName) : 'failed',
  });
}
