/** How a snapshot is named on the command line. */

/** `NAME@SNAPSHOT`, split at the first `@`. */
export function splitTarget(word: string): [client: string, snapshot: string] {
  const [client = '', ...snapshot] = word.split('@');
  return [client, snapshot.join('@')];
}

/** `NAME[@SNAPSHOT]`; without a snapshot, the newest full one. */
export function readTarget(word: string): { client: string; snapshot: string } {
  const [client, snapshot] = splitTarget(word);
  return { client, snapshot: word.includes('@') ? snapshot : 'latest' };
}
