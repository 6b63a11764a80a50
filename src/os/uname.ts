/** The host name and the kernel's version, as uname(2) returns them. */
import { hostname, release } from 'node:os';

/** The whole host name. */
export function hostName(): string {
  return hostname();
}

/** The first label of the host name, in lower case. */
export function hostLabel(): string {
  return (hostname().split('.')[0] ?? '').toLowerCase();
}

/** The kernel's version. */
export function kernelRelease(): string {
  return release();
}
