/** Other names of the paths in `never`: mounts, hard links and symbolic links by which their files could be read. */
import { type Place, placeInText } from '../client/never.ts';
import { failedWith, lstat, readProc } from '../os/files.ts';
import {
  inText,
  isWithin,
  type MountEntry,
  namesByMounts,
  otherNames,
  parseMountTable,
} from '../os/mounts.ts';
import { escapeText, quoteForShell } from '../wire/text.ts';
import { type Finding, Topic } from './finding.ts';
import { findOutsideLinks, type OutsideLinks } from './hard-links.ts';

const NEVER = new Topic(
  'client.never',
  'a backup leaves out the names in `never`, and would read the same file under another name',
);
/** The most names that doctor looks at below each path of `never`. */
const WALK_LIMIT = 50_000;

/** The facts about one path of `never`. The optional keys are those of Place (client/never.ts). */
interface NeverFacts extends OutsideLinks {
  path: string;
  /** Names that other mounts give it. */
  otherNames: string[];
  through?: string;
  link?: string;
  error?: string;
  shared?: string;
}

/**
 * Finds paths of `never` that do not exist. Such a name is often misspelled, and then the file that is meant is backed up.
 * @param hung mount points that do not answer: doctor does not look there
 */
export function collectMissingNevers(nevers: readonly string[], hung: readonly string[]): Finding[] {
  return [...new Set(nevers)]
    .filter(path => !hung.some(each => isWithin(each, path)))
    .filter(isMissing)
    .map(path =>
      NEVER.warning(
        `"${escapeText(path)}" does not exist: if its name is misspelled, the file that you mean is backed up`,
        `ls -d ${quoteForShell(path)}; correct it in \`never\`, or remove it there`,
      ),
    );
}

function isMissing(path: string): boolean {
  try {
    lstat(path);
    return false;
  } catch (error) {
    return failedWith(error, 'ENOENT') || failedWith(error, 'ENOTDIR');
  }
}

/**
 * Looks for other names of the paths in `never`.
 * @param bytes where each of them is (findPlaces())
 * @param roots only names below them matter: a backup reads no others
 * @param hung mount points that do not answer: doctor does not look there
 */
export function collectNever(
  bytes: readonly Place[],
  roots: readonly string[],
  hung: readonly string[],
): NeverFacts[] {
  const places = bytes.map(placeInText);
  const all = [...new Map(places.map(each => [`${each.name}\0${each.place}`, each])).values()];
  const table = all.length === 0 ? [] : inText(parseMountTable(readProc('self/mountinfo') ?? ''));
  const nevers = all.map(each => each.name);
  const isHung = (path: string): boolean => hung.some(each => isWithin(each, path));
  return all.map(place => neverFacts(place, table, nevers, { roots, isUnseen: isHung(place.place) }));
}

function neverFacts(
  { name: path, place, ...way }: Place,
  table: MountEntry[],
  nevers: string[],
  { roots, isUnseen }: { roots: readonly string[]; isUnseen: boolean },
): NeverFacts {
  // A run excludes these names too. Parts of the tree, and mounts below it, can have further names.
  const kept = [...nevers, ...namesByMounts(table, place)];
  const names = otherNames(table, place).filter(
    name => roots.some(root => isWithin(root, name)) && !kept.some(never => isWithin(never, name)),
  );
  // A run excludes only the name of a link that it does not follow, so there is no file whose other names matter.
  const links =
    way.link === undefined && !isUnseen
      ? findOutsideLinks(place, WALK_LIMIT)
      : { linked: [], linkedCount: 0, isSeen: !isUnseen };
  return { path, otherNames: names, ...links, ...way };
}

/** Reports every other name. */
export function checkNever(facts: NeverFacts[]): Finding[] {
  if (facts.length === 0) return [NEVER.ok('`never` names no path')];
  const findings = facts.flatMap(each => [
    ...checkWay(each),
    ...checkMounts(each),
    ...checkHardLinks(each),
    ...checkSeen(each),
  ]);
  const what = facts.length === 1 ? 'the path in `never` has' : `the ${facts.length} paths in \`never\` have`;
  return findings.length > 0 ? findings : [NEVER.ok(`${what} no other name`)];
}

function checkMounts({ path, otherNames: names }: NeverFacts): Finding[] {
  if (names.length === 0) return [];
  const shown = names.map(each => `"${escapeText(each)}"`).join(', ');
  return [
    NEVER.warning(
      `"${path}", or a part of it, is also mounted at ${shown}`,
      `put ${shown} into \`never\` too, or umount ${quoteForShell(names[0] ?? '')}`,
    ),
  ];
}

function checkHardLinks({ path, linked, linkedCount }: NeverFacts): Finding[] {
  if (linkedCount === 0) return [];
  const first = linked[0] ?? path;
  const more = linkedCount > 1 ? `, and ${linkedCount - 1} more,` : '';
  return [
    NEVER.warning(
      `"${escapeText(first)}"${more} has another name somewhere else (a hard link)`,
      `${findNames(first)}; then remove the other name, or put it into \`never\` too`,
    ),
  ];
}

function checkSeen({ path, isSeen }: NeverFacts): Finding[] {
  if (isSeen) return [];
  return [
    NEVER.unknown(
      `this account cannot see all of "${path}", or it has more than ${WALK_LIMIT} names`,
      `find ${quoteForShell(path)} -xdev -type f -links +1, as root: each file that it lists has another name`,
    ),
  ];
}

/** Reports that another user decides which file a path of `never` is. */
function checkWay({ path, through, link, error, shared }: NeverFacts): Finding[] {
  const shown = `"${escapeText(path)}"`;
  if (error !== undefined)
    return [
      NEVER.warning(
        `${shown} cannot be looked at (${escapeText(error)}): a backup leaves out this name, but not files that a link leads to`,
        `ls -ld ${quoteForShell(path)}, as root`,
      ),
    ];
  if (link !== undefined)
    return [
      NEVER.warning(
        `the symbolic link "${escapeText(link)}" on the way to ${shown} is not followed, because another user can replace it`,
        `ls -ld ${quoteForShell(link)}; then name in \`never\` the path that you mean`,
      ),
    ];
  if (shared !== undefined)
    return [
      NEVER.warning(
        `${shown} has another name (a hard link), which a backup does not leave out, and other users can replace it`,
        findNames(path),
      ),
    ];
  if (through === undefined) return [];
  return [
    NEVER.warning(
      `${shown} is in "${escapeText(through)}", in which other users can move it away`,
      `put "${escapeText(through)}" itself into \`never\`, or move ${quoteForShell(path)} into a folder that only root can change`,
    ),
  ];
}

/** The command that lists all names of a file on its file system. */
function findNames(path: string): string {
  const quoted = quoteForShell(path);
  return `find "$(findmnt -no TARGET -T ${quoted})" -xdev -samefile ${quoted}, as root`;
}
