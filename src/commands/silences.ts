/** The hook `silent`, for the commands that run it. */
import type { HostConfig } from '../host/config.ts';
import { tellSilences } from '../host/silence-hook.ts';
import type { ClientOverview } from '../store/overview.ts';
import type { Io } from './command.ts';

/** Runs the hook where it is due, and prints a message for each that failed. @returns the exit status of the command */
export async function tellAll(
  { store, hooks }: HostConfig,
  clients: readonly ClientOverview[],
  io: Pick<Io, 'warn'>,
  signal: AbortSignal,
): Promise<'done' | 'failed'> {
  const faults = await tellSilences(store, hooks, clients, signal);
  io.warn(faults.map(fault => `dialback: ${fault.text()}\n`).join(''));
  return faults.length === 0 ? 'done' : 'failed';
}
