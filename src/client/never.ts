/**
 * Where a path of `never` is. The path can lead through a folder of another user, who can put a symbolic link there at any
 * time. If that link were followed, the other user could keep back whatever it leads to: files of a third user, or `/`. So a
 * link is followed only where root (or, for the account's own list, the account) made it and no other user can replace it.
 * Otherwise only the name is kept back. The launcher has the same rule (src/launcher/place.c).
 *
 * Paths are bytes (os/byte-path.ts).
 */
import { S_IFDIR, S_IFMT } from '../os/files.ts';
import { asText, escapeText } from '../wire/text.ts';

/** Where one path of `never` is, and why it may not be its real place. */
export interface Place {
  /** As the list has it. */
  name: string;
  /** The same without the links that were followed. */
  place: string;
  /** The first folder on the path in which other users can replace the next name. */
  through?: string;
  /** The link that was not followed. */
  link?: string;
  /** Why the path could not be followed to its end: the name of an errno. */
  error?: string;
  /** The file itself, where it has another hard link: it is kept back only by this name. */
  shared?: string;
  /** Names in the scope that other mounts give it: they are kept back too. */
  mounted?: string[];
}

/** The inode of a name; no link is followed. */
export interface Entry {
  uid: number;
  gid?: number;
  /** st_mode, with the bits of the type. */
  mode: number;
  nlink: number;
  /** The target of a symbolic link. */
  target?: string;
}

/** Looks at a path. @returns its inode, or the name of an errno */
export type Look = (path: string) => Entry | string;

const LINKS_MAX = 40; // path_resolution(7)
const STICKY = 0o1000;
const OTHERS_WRITE = 0o022;
/** Stands for a name that does not exist: no owner has made it. */
const MISSING: Entry = { uid: -1, mode: 0, nlink: 0 };

/**
 * Whether only the owners can replace `entry` in `folder`. In a sticky folder other users can create entries, but cannot replace
 * an owner's entry; a hard link to an owner's file could be theirs.
 */
function isFirm(folder: Entry, entry: Entry, owners: readonly number[]): boolean {
  if (!owners.includes(folder.uid)) return false;
  if ((folder.mode & OTHERS_WRITE) === 0) return true;
  const hasOneName = (entry.mode & S_IFMT) === S_IFDIR || entry.nlink === 1;
  return (folder.mode & STICKY) !== 0 && owners.includes(entry.uid) && hasOneName;
}

/**
 * Finds where a path of `never` is.
 * @param name absolute, without `.` and `..`
 * @param owners the users whose links are followed: root, and for the account's own list the account
 */
export function findPlace(name: string, owners: readonly number[], look: Look): Place {
  const found: Place = { name, place: '' };
  const rest = name.split('/');
  let isSeen = true;
  let isShared = false;
  let links = 0;
  for (let next = rest.shift(); next !== undefined; next = rest.shift()) {
    if (next === '' || next === '.') continue;
    const above = found.place; // '' for the root
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
      if (!isFirm(folder, isKnown ? entry : MISSING, owners)) found.through = above || '/';
    }
    if (typeof entry === 'string') {
      if (entry !== 'ENOENT' && entry !== 'ENOTDIR') found.error = entry;
      isSeen = false;
      continue;
    }
    isShared = (entry.mode & S_IFMT) !== S_IFDIR && entry.nlink > 1;
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

/** The report of `launch never`. */
interface LauncherPlaces {
  places: Place[];
  /** Folders with a file that the file system lets no process read, among those whose children are granted one by one. */
  refusing: string[];
}

/**
 * Parses the output of `launch never`: three texts for each fact, with a NUL behind each text. The first fact of a path is its
 * place.
 * @returns undefined where the output has another form
 */
export function parsePlaces(text: string): LauncherPlaces | undefined {
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
 * Joins what this account and the launcher have found. The launcher can look everywhere, so its view of a path replaces ours.
 * @param sent every path that the launcher got. Those that are in no list, such as mount points, are not reported
 */
export function mergePlaces(seen: Place[], found: Place[], sent: readonly string[]): Place[] {
  const listed = new Set(seen.map(each => each.name));
  const unlisted = new Set(sent.filter(name => !listed.has(name)));
  const better = found.filter(each => !unlisted.has(each.name));
  const names = new Set(better.map(each => each.name));
  return [...seen.filter(each => !names.has(each.name)), ...better];
}

/** A path of `never` that is kept back only by its name. */
interface PlaceWarning {
  path: string;
  link: string | undefined;
  message: string;
}

/** The warnings of a run about paths of `never`. */
export function placeWarnings(places: Place[]): PlaceWarning[] {
  const texts = places.map(placeInText);
  const unfollowed = texts.flatMap((place): PlaceWarning[] => {
    const found = whyUnfollowed(place);
    if (found === undefined) return [];
    return [
      { path: place.name, link: place.link, message: `${found}; the backup keeps back only this name` },
    ];
  });
  const mounted = texts.flatMap(({ name, mounted: others = [] }) =>
    others.map((other): PlaceWarning => {
      const message = `Cannot back up "${escapeText(other)}": it is "${escapeText(name)}" in never, which is mounted there too`;
      return { path: name, link: undefined, message };
    }),
  );
  return [...new Map([...unfollowed, ...mounted].map(each => [each.message, each])).values()];
}

function whyUnfollowed({ name, link, error, shared }: Place): string | undefined {
  const path = `"${escapeText(name)}" in never`;
  if (link !== undefined)
    return `Cannot follow the symbolic link "${escapeText(link)}" to find ${path}: other users can replace it`;
  if (error !== undefined) return `Cannot look at ${path}: ${escapeText(error)}`;
  if (shared !== undefined)
    return `Cannot keep back ${path} by its other names: it is a hard link that other users can replace`;
  return undefined;
}

/** The same place with its paths as text. */
export function placeInText(place: Place): Place {
  const text: Place = { name: asText(place.name), place: asText(place.place) };
  for (const kind of FACTS) {
    const bytes = place[kind];
    if (bytes !== undefined) text[kind] = asText(bytes);
  }
  if (place.mounted !== undefined) text.mounted = place.mounted.map(asText);
  return text;
}
