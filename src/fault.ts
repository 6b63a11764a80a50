/**
 * Fault, the form of every error message: `Cannot TRIED: FOUND`, and a next step; and the table of exit statuses.
 */

/** The exit statuses. `help` prints this table, and a test compares it. */
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

/** The meaning of each status, for `help`. */
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
  /** A verb and its object, to follow "Cannot": `read "/etc/dialback/client.toml"`. */
  tried: string;
  /** The cause, as it was found. No full stop. */
  found: string;
  /** One command or one action, if there is one. */
  next?: string;
  /** The exit status; `failed` by default. */
  exit?: ExitName;
  /** The code that the other machine may see (wire/events.ts). */
  code?: string;
  /** The error of the system or of a library behind this one. */
  cause?: unknown;
}

/** An error that a user can act on. Any other error is a bug in dialback. */
export class Fault extends Error {
  readonly tried: string;
  readonly found: string;
  readonly next: string | undefined;
  readonly exit: ExitName;
  readonly code: string | undefined;

  /** @param parts the caller escapes text from outside */
  constructor(parts: FaultParts) {
    super(`Cannot ${parts.tried}: ${parts.found}`, parts.cause === undefined ? {} : { cause: parts.cause });
    this.name = 'Fault';
    this.tried = parts.tried;
    this.found = parts.found;
    this.next = parts.next;
    this.exit = parts.exit ?? 'failed';
    this.code = parts.code;
  }

  /** The message as it is printed: one line, and a second one for the next step. */
  text(): string {
    return this.next === undefined ? this.message : `${this.message}\nnext: ${this.next}`;
  }
}

/** The first error, if a cleanup after it failed too (`await using` wraps both). */
export function firstError(error: unknown): unknown {
  return error instanceof SuppressedError ? firstError(error.suppressed) : error;
}

/** The result of a parser of outside text: a value, or the reason for a refusal. */
export type Parsed<T> = { value: T } | { reason: string };
