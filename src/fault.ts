/**
 * What went wrong, in the one form that every message of dialback has: what was tried, what was found,
 * what to do next; and the one table of exit statuses.
 */

/** The exit statuses; `help` and the tests print and compare this table. */
export const EXIT = {
  done: 0,
  failed: 1,
  usage: 2,
  incomplete: 3,
  noStore: 10,
  locked: 11,
  refused: 12,
  unreachable: 13,
  noSpace: 14,
  interrupted: 130,
} as const;

export type ExitName = keyof typeof EXIT;
export type ExitStatus = (typeof EXIT)[ExitName];

/** What each status means, in the words of `help`. */
export const EXIT_MEANINGS: Record<ExitName, string> = {
  done: 'done',
  failed: 'failed',
  usage: 'usage or config',
  incomplete: 'done but incomplete',
  noStore: 'no store',
  locked: 'locked: another run is under way',
  refused: 'refused',
  unreachable: 'unreachable',
  noSpace: 'no space',
  interrupted: 'interrupted',
};

/** The parts of a Fault. */
export interface FaultParts {
  /** A verb and its thing, as they follow "Cannot": `read "/etc/dialback/client.toml"`. */
  tried: string;
  /** What was found instead of what was needed. No full stop. */
  found: string;
  /** One command, or one thing to do; left out where there is none. */
  next?: string;
  /** The exit status; `failed` unless named. */
  exit?: ExitName;
  /** For what the other machine may be told: a code of wire/events.ts. */
  code?: string;
  /** The error of the system or of a library that this one reports. */
  cause?: unknown;
}

/** An error that a user can act on. Everything else that is thrown is a bug in dialback. */
export class Fault extends Error {
  readonly tried: string;
  readonly found: string;
  readonly next: string | undefined;
  readonly exit: ExitName;
  readonly code: string | undefined;

  /** @param parts what was tried, found and comes next; text from outside is escaped by the caller. */
  constructor(parts: FaultParts) {
    super(`Cannot ${parts.tried}: ${parts.found}`, parts.cause === undefined ? {} : { cause: parts.cause });
    this.name = 'Fault';
    this.tried = parts.tried;
    this.found = parts.found;
    this.next = parts.next;
    this.exit = parts.exit ?? 'failed';
    this.code = parts.code;
  }

  /** The message as it is printed: one line, and a second one where there is a next step. */
  text(): string {
    return this.next === undefined ? this.message : `${this.message}\nnext: ${this.next}`;
  }
}

/** The error that came first, where a clean-up after it failed too (`await using` wraps the two). */
export function firstError(error: unknown): unknown {
  return error instanceof SuppressedError ? firstError(error.suppressed) : error;
}

/** A value, or the reason why there is none: what every parser of outside text returns. */
export type Parsed<T> = { value: T } | { reason: string };
