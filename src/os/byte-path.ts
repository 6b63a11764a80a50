/**
 * Absolute paths as bytes, with one character for each byte (latin1): a name on a disk need not be UTF-8. No path here has
 * `.`, `..`, doubled or trailing slashes.
 */
import { asText, escapeText } from '../wire/text.ts';

/** The bytes that a text has in a file name. The inverse is `asText()`. */
export function asBytes(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1');
}

/** A path of bytes as text for a message, escaped. */
export function showPath(path: string): string {
  return escapeText(asText(path));
}

/** The folder that contains a path; `/` for `/`. */
export function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/')) || '/';
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
