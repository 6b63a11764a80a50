/**
 * Where a `never` is. Its way can lead through a folder of another user, who can put a symbolic link there at any time. Such
 * a link, if it were followed, would keep back what that user aims it at: files of a third user, or `/`. So a link is
 * followed only where root (or, for the account's own list, the account) made it and nobody else can replace it; otherwise
 * the name alone is kept back. The launcher has the same rule (src/launcher/place.c).
 *
 * Names are bytes, a character each.
 */
import { asText, escapeText } from '../wire/text.ts';

/** Where one `never` is, and why it is not elsewhere. */
export interface Place {
  /** As the list has it. */
  name: string;
  /** The same without the links that were followed. */
  place: string;
  /** The first folder on the way in which others can replace the next name. */
  through?: string;
  /** The link that was not followed. */
  link?: string;
  /** Why the way could not be looked at to its end. */
  error?: string;
  /** The file itself, which has another name (a hard link): it is kept back by this name alone. */
  shared?: string;
  /** Names in the scope that other mounts give it: it is kept back by these too. */
  mounted?: string[];
}

/** What has a name; no link is followed. */
export interface Entry {
  uid: number;
  gid?: number;
  /** st_mode, the type's bits too. */
  mode: number;
  nlink: number;
  /** Where a symbolic link leads, else undefined. */
  target?: string;
}

/** @returns what has this name, or errno's name */
export type Look = (path: string) => Entry | string;

const LINKS_MAX = 40; // path_resolution(7)
const TYPE = 0o170000;
const FOLDER = 0o040000;
const STICKY = 0o1000;
const OTHERS_WRITE = 0o022;
/** What is not there. */
const NOBODYS: Entry = { uid: -1, mode: 0, nlink: 0 };

/**
 * Whether nobody but the owners can put something else in the place of `entry` in `folder`. In a sticky folder others can
 * make entries, but not replace an owner's; a hard link to a file of an owner's can be theirs.
 */
export function isFirm(folder: Entry, entry: Entry, owners: readonly number[]): boolean {
  if (!owners.includes(folder.uid)) return false;
  if ((folder.mode & OTHERS_WRITE) === 0) return true;
  const isAlone = (entry.mode & TYPE) === FOLDER || entry.nlink === 1;
  return (folder.mode & STICKY) !== 0 && owners.includes(entry.uid) && isAlone;
}

/**
 * Finds where a `never` is.
 * @param name absolute, without `.` and `..`
 * @param owners who may decide where a link leads: root, and for the account's own list the account
 */
export function findPlace(name: string, owners: readonly number[], look: Look): Place {
  const found: Place = { name, place: '' };
  const rest = name.split('/');
  let isSeen = true;
  let isShared = false;
  let links = 0;
  for (let next = rest.shift(); next !== undefined; next = rest.shift()) {
    if (next === '' || next === '.') continue;
    const above = found.place;
    if (next === '..') {
      found.place = above.slice(0, Math.max(0, above.lastIndexOf('/')));
      continue;
    }
    found.place = `${above}/${next}`;
    if (!isSeen) continue;
    const folder = look(above || '/');
    const entry = typeof folder === 'string' ? folder : look(found.place);
    if (typeof folder !== 'string' && found.through === undefined) {
      const isKnown = typeof entry !== 'string';
      if (!isFirm(folder, isKnown ? entry : NOBODYS, owners)) found.through = above || '/';
    }
    if (typeof entry === 'string') {
      if (entry !== 'ENOENT' && entry !== 'ENOTDIR') found.error = entry;
      isSeen = false;
      continue;
    }
    isShared = (entry.mode & TYPE) !== FOLDER && entry.nlink > 1;
    if (entry.target === undefined) continue;
    links += 1;
    if (found.through === undefined && owners.includes(entry.uid) && links <= LINKS_MAX) {
      found.place = entry.target.startsWith('/') ? '' : above;
      rest.unshift(...entry.target.split('/'));
    } else {
      found.link = found.place;
      isSeen = false;
    }
  }
  if (isSeen && isShared && found.through !== undefined) found.shared = found.place;
  return { ...found, place: found.place || '/' };
}

/** What the launcher has seen. */
export interface Told {
  places: Place[];
  /** Folders with a file that the file system lets nobody read, of those whose children are granted one by one. */
  refusing: string[];
}

/**
 * Reads what `launch never` says: three texts for each fact, a NUL behind each text. A `never` begins with its place.
 * @returns undefined where that is not understood
 */
export function parsePlaces(text: string): Told | undefined {
  const places: Place[] = [];
  const refusing = new Set<string>();
  const words = text.split('\0');
  if (words.length % 3 !== 1 || words.at(-1) !== '') return undefined;
  for (let at = 0; at + 3 < words.length; at += 3) {
    const [kind = '', name = '', value = ''] = words.slice(at, at + 3);
    const last = places.at(-1);
    if (kind === 'place') places.push({ name, place: value });
    else if (kind === 'refuses') refusing.add(name);
    else if (last?.name === name && isFact(kind)) last[kind] = value;
    else return undefined;
  }
  return { places, refusing: [...refusing] };
}

const FACTS = ['through', 'link', 'error', 'shared'] as const;

function isFact(kind: string): kind is (typeof FACTS)[number] {
  return FACTS.some(each => each === kind);
}

/**
 * Both views of the two lists: what the launcher says of a name, which can look everywhere, replaces what this account saw.
 * @param sent all that the launcher was told; of what is in it and not in a list (mount points, say) nobody has to hear
 */
export function mergePlaces(seen: Place[], told: Place[], sent: readonly string[]): Place[] {
  const listed = new Set(seen.map(each => each.name));
  const unlisted = new Set(sent.filter(name => !listed.has(name)));
  const news = told.filter(each => !unlisted.has(each.name));
  const names = new Set(news.map(each => each.name));
  return [...seen.filter(each => !names.has(each.name)), ...news];
}

/** What a run has to say of paths of `never` of which the name alone is kept back. */
export function placeWarnings(
  places: Place[],
): { path: string; link: string | undefined; message: string }[] {
  const warnings = places.map(placeInText).flatMap(({ name, link, error, shared }) => {
    const path = `"${escapeText(name)}" in never`;
    const found =
      link !== undefined
        ? `Cannot follow the symbolic link "${escapeText(link)}" to find ${path}: other users can replace it`
        : error !== undefined
          ? `Cannot look at ${path}: ${escapeText(error)}`
          : shared !== undefined
            ? `Cannot keep back ${path} by its other names: it is a hard link that other users can replace`
            : undefined;
    if (found === undefined) return [];
    return [{ path: name, link, message: `${found}; the backup keeps back this one name` }];
  });
  for (const { name, mounted = [] } of places.map(placeInText)) {
    for (const other of mounted) {
      const message = `Cannot back up "${escapeText(other)}": it is "${escapeText(name)}" in never, which is mounted there too`;
      warnings.push({ path: name, link: undefined, message });
    }
  }
  return [...new Map(warnings.map(each => [each.message, each])).values()];
}

/** The same with names as text. */
export function placeInText(place: Place): Place {
  const text: Place = { name: asText(place.name), place: asText(place.place) };
  for (const kind of FACTS) {
    const bytes = place[kind];
    if (bytes !== undefined) text[kind] = asText(bytes);
  }
  if (place.mounted !== undefined) text.mounted = place.mounted.map(asText);
  return text;
}
