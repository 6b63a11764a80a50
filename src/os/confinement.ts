/** Whether this process is in the jail of `jail web`: it can read some files, and cannot write or execute any. */
let isInJail = false;

/** Notes that this process is in the jail. */
export function beginConfinement(): void {
  isInJail = true;
}

export function isConfined(): boolean {
  return isInJail;
}
