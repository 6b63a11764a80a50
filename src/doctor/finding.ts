/** What `doctor` finds: one thing that was looked at, how it is, why that matters, and the command that mends it. */
import { Fault } from '../fault.ts';
import { escapeText } from '../wire/text.ts';

/** `unknown`: this account cannot see it, so it is not known to be well. */
export type State = 'ok' | 'warning' | 'critical' | 'unknown';

/** One finding, with the JSON keys of the design. */
export interface Finding {
  /** `GROUP.NAME`; the groups are machine, launcher, client and host. */
  check: string;
  state: State;
  found: string;
  why: string;
  /** A command, or one thing to do; null where all is well. */
  next: string | null;
}

/** One thing that is looked at: its name and why it matters, said once for all that can be found of it. */
export class Topic {
  readonly check: string;
  readonly why: string;

  /** @param why a sentence without full stop: what breaks, or who gets in, where it is not as it should be */
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

  /** What a verb would fail with is critical. @param next where the fault names none */
  fault(error: unknown, next: string): Finding {
    if (error instanceof Fault)
      return this.critical(`Cannot ${error.tried}: ${error.found}`, error.next ?? next);
    return this.critical(escapeText(error instanceof Error ? error.message : String(error)), next);
  }
}

/**
 * The exit status, as monitoring plugins have it: 0 all is well, 1 warnings, 2 something critical. What could not be
 * seen counts as a warning: nobody knows that it is well.
 */
export function worstStatus(findings: Finding[]): 0 | 1 | 2 {
  if (findings.some(each => each.state === 'critical')) return 2;
  return findings.some(each => each.state !== 'ok') ? 1 : 0;
}
