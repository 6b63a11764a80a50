/** The patterns of `dialback find`. */
import { decodeName } from '../wire/text.ts';

/** One piece of a pattern: any text, any character, or a test for one character. */
type Piece = 'some' | 'one' | ((character: string) => boolean);

/**
 * Parses a glob as in fnmatch(3): `*`, `?`, `[a-z]`, `[!a-z]`, and a backslash in front of a literal character.
 * Without a slash the pattern applies to the last name of a path. With a slash it applies to the whole path, and `*`
 * also matches slashes, as in find's -path. If it does not begin with a slash, it may begin at any folder.
 * @returns a test for a path below tree/ without a leading slash
 */
export function parsePattern(pattern: string, ignoresCase: boolean): (path: Buffer) => boolean {
  const fold = (text: string): string => (ignoresCase ? text.toLowerCase() : text);
  const isWhole = pattern.includes('/');
  const isAnywhere = isWhole && !pattern.startsWith('/');
  const pieces = piecesOf(fold(isAnywhere ? `/${pattern}` : pattern));
  const all: Piece[] = isAnywhere ? ['some', ...pieces] : pieces;
  return path => {
    const wanted = isWhole ? path : path.subarray(path.lastIndexOf(SLASH) + 1);
    return matches(all, [...fold(`${isWhole ? '/' : ''}${decodeName(wanted)}`)]);
  };
}

const SLASH = '/'.charCodeAt(0);

function piecesOf(pattern: string): Piece[] {
  const pieces: Piece[] = [];
  const characters = [...pattern];
  for (let at = 0; at < characters.length; at += 1) {
    const character = characters[at] ?? '';
    const end = character === '[' ? endOfClass(characters, at) : -1;
    if (character === '*') pieces.push('some');
    else if (character === '?') pieces.push('one');
    else if (end > 0) {
      pieces.push(classOf(characters.slice(at + 1, end)));
      at = end;
    } else {
      const isEscape = character === '\\' && at + 1 < characters.length;
      if (isEscape) at += 1;
      const meant = characters[at] ?? '';
      pieces.push(each => each === meant);
    }
  }
  return pieces;
}

/**
 * The end of a class that begins here; -1 if there is none, and the bracket is literal. A `]` in first place belongs
 * to the class.
 */
function endOfClass(characters: string[], from: number): number {
  const first = characters[from + 1] === '!' || characters[from + 1] === '^' ? from + 3 : from + 2;
  return characters.indexOf(']', first);
}

function classOf(inside: string[]): (character: string) => boolean {
  const isNegated = inside[0] === '!' || inside[0] === '^';
  const members = isNegated ? inside.slice(1) : inside;
  const ranges: [number, number][] = [];
  for (let at = 0; at < members.length; at += 1) {
    const low = codeOf(members[at]);
    const isRange = members[at + 1] === '-' && at + 2 < members.length;
    ranges.push([low, isRange ? codeOf(members[at + 2]) : low]);
    if (isRange) at += 2;
  }
  return character => {
    const code = codeOf(character);
    return character !== '/' && ranges.some(([low, high]) => low <= code && code <= high) !== isNegated;
  };
}

function codeOf(character: string | undefined): number {
  return character?.codePointAt(0) ?? -1;
}

/** Only the last `*` is tried again, so the time is at most the length of the name times the length of the pattern. */
function matches(pieces: Piece[], characters: string[]): boolean {
  let [piece, character, star, tried] = [0, 0, -1, 0];
  while (character < characters.length) {
    const wanted = pieces[piece];
    const found = characters[character] ?? '';
    if (wanted === 'some') {
      star = piece;
      tried = character;
      piece += 1;
    } else if (wanted === 'one' || (typeof wanted === 'function' && wanted(found))) {
      piece += 1;
      character += 1;
    } else if (star >= 0) {
      tried += 1;
      character = tried;
      piece = star + 1;
    } else return false;
  }
  return pieces.slice(piece).every(each => each === 'some');
}
