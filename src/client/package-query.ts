/** Asks the programs of a package manager. */
import { Fault } from '../fault.ts';
import { type Command, run } from '../os/process.ts';
import { escapeText } from '../wire/text.ts';

const QUERY_MS = 5 * 60_000;
const QUERY_BYTES = 512 * 1024 * 1024;

/**
 * Runs a program that prints something about packages.
 * @param tried what is read by it, for the message
 * @returns its standard output as bytes, one character each
 * @throws Fault with the last line of its standard error if it fails; the signal's reason
 */
export async function queryPackages(command: Command, tried: string, signal?: AbortSignal): Promise<string> {
  const limits = { timeoutMs: QUERY_MS, limit: QUERY_BYTES, ...(signal === undefined ? {} : { signal }) };
  const { status, stdout, stderr } = await run(command, limits);
  if (status === 0) return stdout.toString('latin1');
  const said = escapeText(stderr.trim().split('\n').at(-1) ?? '');
  throw new Fault({ tried, found: `${command.program} ended with ${status}: ${said}` });
}
