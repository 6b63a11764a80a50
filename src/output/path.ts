/** Paths of a snapshot as they were on the client. */
import { joinPath } from '../store/tree-path.ts';
import { type JsonName, jsonName } from '../wire/text.ts';

/** @param path below the snapshot's tree, without a slash in front */
export function clientPath(path: Buffer): JsonName {
  return jsonName(joinPath('', path));
}

/** @param path the same as a string of one character for each byte, as a manifest has it */
export function manifestPath(path: string): JsonName {
  return clientPath(Buffer.from(path, 'latin1'));
}
