/** A finding of `doctor`: a check, its result, the reason for the check, and the command that fixes the problem. */
import { Fault } from '../fault.ts';
import { escapeText } from '../wire/text.ts';

/** `unknown`: this account cannot see the fact, so doctor cannot say "ok". */
export type State = 'ok' | 'warning' | 'critical' | 'unknown';

/** One finding. The keys are those of `doctor --json` (docs/design.md). */
export interface Finding {
  /** `GROUP.NAME`; the groups are machine, launcher, client and host. */
  check: string;
  state: State;
  found: string;
  why: string;
  /** One command or one action; null if the state is ok. */
  next: string | null;
}

/** One check: its name and the reason for it, which are the same for all its findings. */
export class Topic {
  readonly check: string;
  readonly why: string;

  /**
   * @param check `GROUP.NAME`
   * @param why a sentence without full stop: the harm if the check does not pass
   */
  constructor(check: string, why: string) {
    this.check = check;
    this.why = why;
  }

  ok(found: string): Finding {
    return { check: this.check, state: 'ok', found, why: this.why, next: null };
  }

  warning(found: string, next: string): Finding {
    return { check: this.check, state: 'warning', found, why: this.why, next };
  }

  critical(found: string, next: string): Finding {
    return { check: this.check, state: 'critical', found, why: this.why, next };
  }

  unknown(found: string, next: string): Finding {
    return { check: this.check, state: 'unknown', found, why: this.why, next };
  }

  /**
   * A critical finding from an error that a command would fail with.
   * @param next the step for an error that names none
   */
  fault(error: unknown, next: string): Finding {
    if (error instanceof Fault)
      return this.critical(`Cannot ${error.tried}: ${error.found}`, error.next ?? next);
    return this.critical(escapeText(error instanceof Error ? error.message : String(error)), next);
  }
}

/**
 * The exit status, as monitoring plugins have it: 0 all is ok, 1 warnings, 2 something critical. `unknown` counts as a warning,
 * because the thing may be broken.
 */
export function worstStatus(findings: Finding[]): 0 | 1 | 2 {
  if (findings.some(each => each.state === 'critical')) return 2;
  return findings.some(each => each.state !== 'ok') ? 1 : 0;
}

const STATES: readonly State[] = ['ok', 'warning', 'critical', 'unknown'];

/** Reads the output of `doctor --json`. @returns undefined if the text is anything else */
export function parseFindings(text: string): Finding[] | undefined {
  let found: unknown;
  try {
    found = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!Array.isArray(found) || !found.every(isFinding)) return undefined;
  return found;
}

function isFinding(value: unknown): value is Finding {
  if (typeof value !== 'object' || value === null) return false;
  const { check, state, found, why, next } = value as Record<string, unknown>;
  return (
    [check, found, why].every(each => typeof each === 'string') &&
    STATES.includes(state as State) &&
    (next === null || typeof next === 'string')
  );
}
