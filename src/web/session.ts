/**
 * Logins. The server prints a token, which works once. The browser exchanges it for a cookie. Both are 256 random bits, and the server
 * keeps only their SHA-256, in memory.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { Parsed } from '../fault.ts';
import { randomHex } from '../os/random.ts';

const SECRET_BYTES = 32;
/** How long a token that was not used works, and a session that is not used. */
const TOKEN_MS = 3_600_000;
const IDLE_MS = 12 * 3_600_000;
const SESSION_MS = 7 * 86_400_000;
/** The oldest session ends when another one begins. */
const MOST_SESSIONS = 16;

interface Secret {
  digest: Buffer;
  bornMs: number;
}

interface Session extends Secret {
  usedMs: number;
}

/** The tokens and sessions of a server. All times are milliseconds of a clock that only goes forward. */
export class Sessions {
  #token: Secret | undefined;
  #wasUsed = false;
  #sessions: Session[] = [];

  /** Makes a token. One that was not used yet does not work any more. */
  makeToken(nowMs: number): string {
    const token = randomHex(SECRET_BYTES);
    this.#token = { digest: digestOf(token), bornMs: nowMs };
    this.#wasUsed = false;
    return token;
  }

  /**
   * Exchanges a token for a session.
   * @returns the value of the cookie, or why the token is refused
   */
  login(token: string, nowMs: number): Parsed<string> {
    const known = this.#token;
    if (known === undefined)
      return {
        reason: this.#wasUsed ? 'this token was used, or it is not the last one' : 'there is no token',
      };
    if (!isSame(known, token)) return { reason: 'this is not the token that the server printed' };
    this.#token = undefined;
    if (nowMs - known.bornMs > TOKEN_MS) return { reason: 'this token has expired' };
    this.#wasUsed = true;
    const cookie = randomHex(SECRET_BYTES);
    this.#sessions.push({ digest: digestOf(cookie), bornMs: nowMs, usedMs: nowMs });
    this.#sessions = this.#sessions.slice(-MOST_SESSIONS);
    return { value: cookie };
  }

  /** Whether a cookie belongs to a session, which then counts as used. */
  isLoggedIn(cookie: string | undefined, nowMs: number): boolean {
    this.#sessions = this.#sessions.filter(
      each => nowMs - each.usedMs <= IDLE_MS && nowMs - each.bornMs <= SESSION_MS,
    );
    const found = this.#find(cookie);
    if (found) found.usedMs = nowMs;
    return found !== undefined;
  }

  logout(cookie: string | undefined): void {
    const found = this.#find(cookie);
    this.#sessions = this.#sessions.filter(each => each !== found);
  }

  /** Compares with all sessions, so that the time says nothing about one of them. */
  #find(cookie: string | undefined): Session | undefined {
    return this.#sessions.filter(each => isSame(each, cookie ?? '')).at(0);
  }
}

/** Digests have one length, and the time of their comparison does not depend on the secret. */
function isSame({ digest }: Secret, text: string): boolean {
  return timingSafeEqual(digest, digestOf(text));
}

function digestOf(text: string): Buffer {
  return createHash('sha256').update(text, 'utf8').digest();
}
