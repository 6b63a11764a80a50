/**
 * Absolute paths as bytes, with one character for each byte (latin1): a name on a disk need not be UTF-8. No path here has
 * `.`, `..`, doubled or trailing slashes.
 */
import { asText, escapeText, type JsonName, jsonName } from '../wire/text.ts';

/** The bytes that a text has in a file name. The inverse is `asText()`. */
export function asBytes(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1');
}

/** A path of bytes as text for a message, escaped. */
export function showPath(path: string): string {
  return escapeText(asText(path));
}

/** A path of bytes, or a name, for JSON. */
export function jsonPath(path: string): JsonName {
  return jsonName(Buffer.from(path, 'latin1'));
}

/** The folder that contains a path; `/` for `/`. */
export function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/')) || '/';
}

/** The name of an entry in its folder; '' for `/`. */
export function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

/** The part of a path behind a folder that it is in: '' for the folder itself, and else it begins with a slash. */
export function tailBehind(folder: string, path: string): string {
  if (folder === '/') return path === '/' ? '' : path;
  return path.slice(folder.length);
}

/** Joins a folder and such a part. */
export function joinPath(folder: string, tail: string): string {
  return `${folder === '/' ? '' : folder}${tail}` || '/';
}

/** Replaces the escapes of a byte, `\040`, as in mountinfo, fstab(5), mtree(5) and the output of getfattr(1). */
export function unescapeOctal(text: string): string {
  return text.replace(/\\([0-3][0-7]{2})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}
