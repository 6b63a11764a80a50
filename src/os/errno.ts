/** Texts for errno numbers, which rsync prints (errno(3)). */
import { constants } from 'node:os';
import { getSystemErrorMap } from 'node:util';

/** The numbers by name. node does not list the last three, which only Linux has. */
export const ERRNO = { ...constants.errno, EUCLEAN: 117, EHOSTDOWN: 112, EREMOTEIO: 121 } as const;

/** Our texts, where the system's text would mislead a user. */
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

/** The text for a number. @returns `errno 999` for an unknown number */
export function errnoWords(errno: number): string {
  return WORDS.get(errno) ?? systemWords(errno);
}

/** The system's text. */
function systemWords(errno: number): string {
  return getSystemErrorMap().get(-errno)?.[1] ?? `errno ${errno}`;
}

/** Errors for attributes that are too large for the file system: ext4 returns ENOSPC, others E2BIG or ERANGE. */
const TOO_LARGE = [ERRNO.ENOSPC, ERRNO.E2BIG, ERRNO.ERANGE];

/**
 * Describes a failure on the backup host: `could not store it: input/output error`.
 * @param failed errno: the number on the host; part: the entry itself, or its attributes
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
