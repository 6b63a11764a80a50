/** Processes as /proc shows them: their identity, their descendants, and how to kill those that are not our children. */

import { monotonicMs, sleep } from './clock.ts';
import { readdir, readProc } from './files.ts';

export const DEFAULT_GRACE_MS = 3_000;

export const KILL_PATIENCE_MS = 5_000;

/** A process. Its start time distinguishes it from a later process with the same number. */
export interface Process {
  pid: number;
  /** Its start time in clock ticks (field 22 of /proc/PID/stat). */
  startTicks: string;
}

function statOf(
  pid: number,
): { parent: number; session: number; state: string; startTicks: string } | undefined {
  const text = readProc(`${pid}/stat`);
  if (text === undefined) return undefined;
  // The command's name can contain parentheses and blanks, so the fields begin after the last parenthesis.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const [state = '', parent, , session] = fields;
  return { state, parent: Number(parent), session: Number(session), startTicks: fields[19] ?? '' };
}

/** Finds a process by its number. @returns undefined where there is none */
export function processAt(pid: number): Process | undefined {
  const found = statOf(pid);
  return found ? { pid, startTicks: found.startTicks } : undefined;
}

/** Whether a process still runs. A zombie does not. */
export function isAlive(process: Process): boolean {
  const found = statOf(process.pid);
  return found !== undefined && found.state !== 'Z' && found.startTicks === process.startTicks;
}

/**
 * A process and its descendants, parents first. For a session leader, also the orphans of its session.
 */
function familyOf(pid: number): Process[] {
  const children = new Map<number, Process[]>();
  const orphans: Process[] = [];
  for (const name of readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const found = statOf(Number(name));
    if (!found) continue;
    const each = { pid: Number(name), startTicks: found.startTicks };
    const siblings = children.get(found.parent) ?? [];
    siblings.push(each);
    children.set(found.parent, siblings);
    if (found.session === pid && each.pid !== pid) orphans.push(each);
  }
  const top = processAt(pid);
  const family: Process[] = top ? [top] : [];
  for (const member of family) family.push(...(children.get(member.pid) ?? []));
  const known = new Set(family.map(each => each.pid));
  return [...family, ...orphans.filter(each => !known.has(each.pid))];
}

/** Stops a process and its descendants (SIGSTOP), so that they cannot start children that we would miss. */
export function stopFamily(pid: number): Process[] {
  const stopped = new Map<number, Process>();
  for (;;) {
    const fresh = familyOf(pid).filter(member => !stopped.has(member.pid));
    if (fresh.length === 0) return [...stopped.values()];
    for (const member of fresh) {
      signalProcess(member, 'SIGSTOP');
      stopped.set(member.pid, member);
    }
  }
}

export function signalProcess(target: Process, signal: NodeJS.Signals): void {
  if (!isAlive(target)) return;
  try {
    process.kill(target.pid, signal);
  } catch {
    // it has exited since, or we may not signal it: waitForAll() notices
  }
}

/** Sends SIGTERM to a process by its number. Only for a process whose number cannot have been reused. */
export function signalNumber(pid: number): void {
  try {
    process.kill(pid, 'SIGTERM');
  } catch {
    // it has exited
  }
}

/** Kills one process that is not our child: SIGTERM, and SIGKILL after `graceMs`. */
export async function killProcess(target: Process, graceMs = DEFAULT_GRACE_MS): Promise<void> {
  signalProcess(target, 'SIGTERM');
  await waitForAll([target], graceMs);
  signalProcess(target, 'SIGKILL');
  await waitForAll([target], KILL_PATIENCE_MS);
}

export async function waitForAll(processes: Process[], ms: number): Promise<void> {
  const end = monotonicMs() + ms;
  // The kernel reports an exit only to the parent, so we poll.
  for (let stepMs = 2; processes.some(isAlive) && monotonicMs() < end; stepMs = Math.min(stepMs * 2, 50)) {
    await sleep(stepMs);
  }
}

/** Kills every process that has this word on its command line, for example one that `startApart()` started. */
export async function endCommand(word: string): Promise<void> {
  const found: Process[] = [];
  const ending: Process[] = [];
  for (const name of readdir('/proc')) {
    const commandLine = /^\d+$/.test(name) ? readProc(`${name}/cmdline`) : undefined;
    const each = commandLine === undefined ? undefined : processAt(Number(name));
    if (commandLine?.split('\0').includes(word) && each) found.push(each);
    // An exiting process has an empty command line. A kernel thread has one too, but its parent identifies it.
    if (commandLine === '' && each && ![0, KTHREADD].includes(statOf(each.pid)?.parent ?? 0))
      ending.push(each);
  }
  await Promise.all([...found.map(each => killProcess(each)), waitForAll(ending, KILL_PATIENCE_MS)]);
}
const KTHREADD = 2;
