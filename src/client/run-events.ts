/**
 * The run of one remote: its inputs, its progress, its events and its outcome. Each run makes one `RunEvents` and passes it
 * to all of its parts.
 */
import { type ExitStatus, Fault } from '../fault.ts';
import type { HookEnd } from '../shared/hooks.ts';
import type { OutcomeEvent, UnstoredEvent } from '../wire/events.ts';
import type { Compression } from './compression.ts';
import type { ClientConfig, Remote } from './config.ts';
import type { LeftOutReport } from './tagged.ts';

/** The present step of a run. */
type RunPhase = 'keys' | 'calling' | 'admitted' | 'dialling' | 'copying' | 'committing';

/** Files and folders that are done; null where the host has not reported them. `percent` as in wire/events.ts. */
export type FileCount = { done: number; total: number; percent: number | null } | null;

/** Why a run waits. `jitter`, `lock` and `disk`: before its first attempt; `retry` and `turn`: before another attempt. */
type WaitReason = 'jitter' | 'lock' | 'disk' | 'retry' | 'turn';

/** One report of a run. */
export type RunNews =
  | { event: 'phase'; remote: string; phase: RunPhase }
  | { event: 'progress'; remote: string; bytes: number; percent: number; files: FileCount }
  /** The run has no connection while it waits. */
  | {
      event: 'waiting';
      remote: string;
      why: WaitReason;
      /** Milliseconds; null where the wait ends with another run, or when the disk is mounted. */
      ms: number | null;
      /** Why the last attempt failed; null before the first one. */
      found: string | null;
    }
  | ({ event: 'compression'; remote: string } & Compression)
  /** `code` is set where the warning must reach a person in any case. */
  | { event: 'warning'; remote: string; code?: string; message: string }
  | ({ event: 'hook'; remote: string } & HookEnd);

/** The reports of one run. Each method reports once; none of them fails or waits. */
export class RunEvents {
  /** The remote's name. */
  readonly remote: string;
  readonly #tell: (news: RunNews) => void;

  /** @param remote the remote's name; @param tell receives each report */
  constructor(remote: string, tell: (news: RunNews) => void) {
    this.remote = remote;
    this.#tell = tell;
  }

  phase(phase: RunPhase): void {
    this.#tell({ event: 'phase', remote: this.remote, phase });
  }

  /** @param bytes received so far; @param percent of the bytes */
  progress(bytes: number, percent: number, files: FileCount): void {
    this.#tell({ event: 'progress', remote: this.remote, bytes, percent, files });
  }

  /** @param ms null where the end is not known; @param found why the last attempt failed */
  waiting(why: WaitReason, ms: number | null, found: string | null = null): void {
    this.#tell({ event: 'waiting', remote: this.remote, why, ms, found });
  }

  compression(chosen: Compression): void {
    this.#tell({ event: 'compression', remote: this.remote, ...chosen });
  }

  /** Reports something that does not change how the run ends. @param error an error, or the message itself */
  warning(error: unknown, code?: string): void {
    const message = error instanceof Error ? error.message : String(error);
    this.#tell({ event: 'warning', remote: this.remote, ...(code === undefined ? {} : { code }), message });
  }

  hook(end: HookEnd): void {
    this.#tell({ event: 'hook', remote: this.remote, ...end });
  }
}

/** The run of one remote, with as many attempts as it takes. */
export interface Run {
  config: ClientConfig;
  remote: Remote;
  /** The state folder. */
  state: string;
  dryRun: boolean;
  /** Aborts on a signal, and when the deadline of the run has passed. */
  interrupt: AbortSignal;
  events: RunEvents;
}

/** How the run of one remote ended. */
export interface RunOutcome {
  remote: string;
  /** The outcome that the host reported; undefined where it reported none. */
  outcome: OutcomeEvent | undefined;
  /** The files that the host could not store, if the run is incomplete. */
  unstored?: UnstoredEvent | undefined;
  /** Why the run failed. */
  fault: Fault | undefined;
  /** Why the run was skipped, as the config or the hook `before` asks for; then there is no fault. */
  skipped?: string | undefined;
  /** The folders that were left out by tags; undefined where there is no snapshot. */
  leftOut?: LeftOutReport | undefined;
  exit: ExitStatus;
  durationMs: number;
  /** Why the hook at the end of the run failed. */
  hookFault?: Fault;
}

/** A run that failed. @param found what was found instead of a backup */
export function runFault(remote: string, found: string): Fault {
  return new Fault({ tried: `back up to "${remote}"`, found });
}
