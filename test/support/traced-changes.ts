/** The system calls of a command, from the log of strace(1), as moments at which a test kills it. */

/** A system call of the main thread. */
interface TracedCall {
  /** As strace(1) names it for a kill right before it: `-e inject=AT`. */
  at: string;
  call: string;
  /** Its arguments and its result. */
  rest: string;
}

/** The calls of the main thread, in order. @param log of `strace -f -o` */
export function tracedCalls(log: string): TracedCall[] {
  const lines = log.split('\n');
  const main = lines[0]?.split(' ')[0] ?? '';
  const counts = new Map<string, number>();
  return lines.flatMap(line => {
    const [, pid, call, rest = ''] = /^(\d+) +(\w+)\((.*)/.exec(line) ?? [];
    if (pid !== main || call === undefined) return [];
    counts.set(call, (counts.get(call) ?? 0) + 1);
    return [{ at: `${call}:signal=KILL:when=${counts.get(call)}`, call, rest }];
  });
}

/** Those that change the disk: without those that open a file that is there. */
export function tracedChanges(log: string): TracedCall[] {
  return tracedCalls(log).filter(({ call, rest }) => !call.startsWith('open') || /O_CREAT/.test(rest));
}
