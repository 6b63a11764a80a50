/** The host name and the kernel's version, as uname(2) returns them. */
import { hostname, release } from 'node:os';

/** The machine's host name, whole. */
export function hostName(): string {
  return hostname();
}

/** The first label of the machine's host name, in lower case. */
export function hostLabel(): string {
  return (hostname().split('.')[0] ?? '').toLowerCase();
}

/** The kernel's version, as uname(2) has it. */
export function kernelRelease(): string {
  return release();
}
