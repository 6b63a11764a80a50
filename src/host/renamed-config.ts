/** The text of a host.toml after a client got another name. Pure. */
import { isDeepStrictEqual } from 'node:util';
import { parse } from 'smol-toml';

/** `same`: nothing to change. `text`: the new text. `reason`: it cannot be changed by a program. */
export type RenamedConfig = { same: true } | { text: string } | { reason: string };

/**
 * Renames the tables `[client.FROM…]`. The values of the result are compared with those that are wanted, so that a config of another form is
 * refused and never changed in a wrong way.
 * @param text a valid host.toml
 */
export function renameInConfig(text: string, from: string, to: string): RenamedConfig {
  const before = parse(text) as { client?: Record<string, unknown> };
  const clients = before.client ?? {};
  if (!Object.hasOwn(clients, from)) return { same: true };
  const tables = `[client.${from}]`;
  if (Object.hasOwn(clients, to)) {
    // By hand, where this account may not write the file.
    return isDeepStrictEqual(clients[from], clients[to])
      ? { same: true }
      : { reason: `it has ${tables} and [client.${to}], which are different` };
  }
  const name = from.replaceAll('.', String.raw`\.`);
  const header = new RegExp(
    String.raw`^(\s*\[\s*client\s*\.\s*)(?:"${name}"|'${name}'|${name})(\s*[.\]])`,
    'gm',
  );
  const quoted = to.includes('.') ? JSON.stringify(to) : to;
  const changed = text.replace(header, `$1${quoted}$2`);
  const wanted = { ...before, client: Object.fromEntries(entriesFor(clients, from, to)) };
  const isRight = isSame(changed, wanted);
  return isRight
    ? { text: changed }
    : { reason: `its keys for "${from}" are not in tables ${tables} of their own` };
}

function entriesFor(clients: Record<string, unknown>, from: string, to: string): [string, unknown][] {
  return Object.entries(clients).map(([name, value]) => [name === from ? to : name, value]);
}

function isSame(text: string, wanted: object): boolean {
  try {
    // smol-toml's tables have no prototype.
    return isDeepStrictEqual(JSON.parse(JSON.stringify(parse(text))), JSON.parse(JSON.stringify(wanted)));
  } catch {
    return false;
  }
}

/** Whether the text has settings for a client. */
export function hasClient(text: string, name: string): boolean {
  return Object.hasOwn((parse(text) as { client?: object }).client ?? {}, name);
}
