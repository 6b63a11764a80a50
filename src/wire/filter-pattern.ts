/** Patterns of rsync's filters (rsync(1), PATTERN MATCHING RULES). Paths are bytes, one character each. */

/**
 * A pattern that matches only this path. A backslash escapes only in a pattern with a wildcard (rsync(1)). A line end, which only
 * the name of a mount point can have, would begin another rule, so `?` replaces it.
 */
export function literalPattern(path: string): string {
  if (!/[*?[\n\r]/.test(path)) return path;
  return path.replace(/[\\*?[]/g, '\\$&').replace(/[\n\r]/g, '?');
}

/** A pattern for everything below the folders that `pattern` matches. */
export function below(pattern: string): string {
  const folder = pattern.replace(/\/+$/, '');
  // `**` is a wildcard, so a backslash in this pattern must be escaped.
  return `${/[*?[]/.test(folder) ? folder : folder.replaceAll('\\', '\\\\')}/**`;
}
