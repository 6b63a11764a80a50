/** errno(3): numbers that rsync prints, in words. */
import { constants } from 'node:os';
import { getSystemErrorMap } from 'node:util';

/** By name. The last three are Linux's own numbers, which node does not list. */
export const ERRNO = { ...constants.errno, EUCLEAN: 117, EHOSTDOWN: 112, EREMOTEIO: 121 } as const;

/** Words where the system's own would say something else to a user. */
const WORDS = new Map<number, string>([
  [ERRNO.ENOENT, 'not there'],
  [ERRNO.EIO, 'input/output error'],
  [ERRNO.EFBIG, 'larger than `max_size`'],
  [ERRNO.ENODATA, 'it changed while it was read, twice'],
  [ERRNO.ESTALE, 'its server has it no longer'],
  [ERRNO.EUCLEAN, 'the file system is damaged'],
  [ERRNO.EHOSTDOWN, 'its server does not answer'],
  [ERRNO.EREMOTEIO, 'input/output error on its server'],
]);

/** What a number means. @returns `errno 999` for one that no system has */
export function errnoWords(errno: number): string {
  return WORDS.get(errno) ?? systemWords(errno);
}

/** The system's own words. */
function systemWords(errno: number): string {
  return getSystemErrorMap().get(-errno)?.[1] ?? `errno ${errno}`;
}

/** Attributes that are too large for the file system: ext4 answers ENOSPC, others E2BIG or ERANGE. */
const TOO_LARGE = [ERRNO.ENOSPC, ERRNO.E2BIG, ERRNO.ERANGE];

/**
 * What a backup host could not do: `could not store it: input/output error`. The number is that machine's.
 * @param failed.part the entry itself, or what belongs to it beside its content
 */
export function unstoredWords(failed: { errno: number | null; part: 'entry' | 'attributes' }): string {
  const { errno, part } = failed;
  const isEntry = part === 'entry';
  const what = isEntry ? 'could not store it' : 'could not store all of its attributes';
  if (errno === null) return what;
  if (isEntry && errno === ERRNO.EFBIG) return `${what}: it is larger than a file can be there`;
  if (!isEntry && TOO_LARGE.includes(errno)) return `${what}: its file system has no room for them`;
  return `${what}: ${systemWords(errno)}`;
}
