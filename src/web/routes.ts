/** Decides on a request, before anything is read from the store. Pure. */
import type { Names } from './headers.ts';
import { readHeaders, refuseHeaders } from './headers.ts';
import { parseTarget, type Target } from './target.ts';

/** The parts of a request that the decision needs. */
export interface RawRequest {
  method: string;
  /** As it stands in the request line. */
  target: string;
  /** Names and values in turn. */
  rawHeaders: readonly string[];
}

/** A request that is refused. */
export interface Refusal {
  kind: 'refusal';
  status: 400 | 403 | 405;
  /** For the client and for the log. */
  found: string;
}

/** A request that is accepted, if its session is. */
export interface Route {
  kind: 'style' | 'login form' | 'login' | 'logout' | 'download' | 'page';
  target: Target;
  headers: ReadonlyMap<string, string>;
}

const METHODS = ['GET', 'HEAD', 'POST'];
/** Addresses that the server answers itself, without further segments. */
const OWN: Record<string, { GET?: Route['kind']; POST?: Route['kind'] }> = {
  'style.css': { GET: 'style' },
  login: { GET: 'login form', POST: 'login' },
  logout: { POST: 'logout' },
};

/** Decides on a request. */
export function routeOf({ method, target, rawHeaders }: RawRequest, names: Names): Refusal | Route {
  const deny = (status: Refusal['status'], found: string): Refusal => ({ kind: 'refusal', status, found });
  if (!METHODS.includes(method)) return deny(405, 'the method is none of GET, HEAD and POST');
  const headers = readHeaders(rawHeaders);
  if ('reason' in headers) return deny(400, headers.reason);
  const foreign = refuseHeaders(method, headers.value, names);
  if (foreign !== undefined) return deny(403, foreign);
  const parsed = parseTarget(target);
  if ('reason' in parsed) return deny(400, parsed.reason);
  const { path } = parsed.value;
  const own = path.length === 1 && Object.hasOwn(OWN, path[0] ?? '') ? OWN[path[0] ?? ''] : undefined;
  const other = path[0] === 'download' ? 'download' : 'page';
  const kind = method === 'POST' ? own?.POST : own === undefined ? other : own.GET;
  if (kind === undefined) return deny(405, `the address does not take ${method}`);
  return { kind, target: parsed.value, headers: headers.value };
}
