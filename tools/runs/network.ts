/** A network namespace for benchmarks (network_namespaces(7)): its loopback device counts the bytes of this program and its children only. */
import { readFileSync } from 'node:fs';

const MARK = 'DIALBACK_BENCH_NETWORK';

/**
 * Starts this program again in network and mount namespaces of its own, unless it is in them. Its mounts then end with it, even if it
 * is killed. Needs root.
 */
export function enterOwnNetwork(): void {
  if (process.env[MARK] === '1') return;
  const again = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const up = ['sh', '-c', 'ip link set lo up && exec "$@"', 'sh', ...again];
  const environment = { ...process.env, [MARK]: '1' };
  process.execve?.('/usr/bin/unshare', ['unshare', '--net', '--mount', '--', ...up], environment);
}

/** The bytes that the loopback device has sent, in both directions of all connections, with the headers of TCP and IP. */
export function wireBytes(): number {
  const line = /^ *lo:(.*)$/m.exec(readFileSync('/proc/net/dev', 'latin1'))?.[1] ?? '';
  const RECEIVED = 0; // loopback receives what it sends
  return Number(line.trim().split(/\s+/)[RECEIVED]);
}
