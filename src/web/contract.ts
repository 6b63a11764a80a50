/**
 * The contract between the web server (server.ts, routes.ts) and the pages (pages/, data.ts).
 *
 * The server answers these addresses itself: `/login`, `/logout`, `/style.css`, and `/download/NAME/SNAPSHOT/PATH…` for a file, or a
 * folder as tar. All others belong to the pages. The first segment chooses the page:
 *
 * - `/` is the overview of all clients
 * - `/client/NAME` is one client
 * - `/browse/NAME/SNAPSHOT/PATH…` is a folder of a snapshot
 * - `/versions/NAME/PATH…` has the versions of a file
 * - `/search/NAME?q=PATTERN` finds names in all snapshots
 * - `/diff/NAME/BEFORE/AFTER/PATH…` has the differences of two snapshots
 *
 * A page runs in a jail that can read the store, and nothing else. It cannot start a program, write a file, or open a connection.
 * The functions of store/ that list and compare trees (`listEntries`, `readTree`, `compareSnapshots`, `openIndex`) work in it.
 *
 * The Content-Security-Policy permits `/style.css`, inline SVG, and forms that go to this server. It refuses scripts, style elements,
 * `style` attributes, images and frames. pages/address.ts makes the addresses for links.
 */
import type { HostConfig } from '../host/config.ts';

/** The request for a page. */
export interface PageRequest {
  /**
   * The segments of the path, decoded (in the form of `decodeName`, since a name can have any bytes). None is empty, `.`, `..`, or has a
   * slash or a NUL. The first one has chosen the page; there is none for `/`.
   */
  path: readonly string[];
  /** The query, decoded. Each key is there once. */
  query: ReadonlyMap<string, string>;
}

/** The means of a page. */
export interface PageContext {
  config: HostConfig;
  /** The folder of the store. */
  store: string;
  now: Date;
  /** Aborts when the client has gone, when the page takes too long, and when the server ends. */
  signal: AbortSignal;
}

/** A complete HTML document of at most 4 MiB. Longer lists need several pages. */
export interface PageReply {
  status: 200 | 400 | 404 | 500 | 503;
  html: string;
}

/**
 * Makes a page.
 * @throws Fault: the server then shows `Site.error` with 404, or 400 for `usage`
 */
export type Page = (request: PageRequest, context: PageContext) => Promise<PageReply>;

/** The facts of an error page. */
export interface ErrorFacts {
  status: number;
  /** As in a Fault: `find the page`. */
  tried: string;
  found: string;
  next: string | undefined;
  /** Whether the reader has logged in: else the page has no links to other pages. */
  isLoggedIn: boolean;
}

/** All pages, as pages/site.ts exports them (`export const site: Site`). */
export interface Site {
  /** By the first segment; '' for the overview. */
  pages: ReadonlyMap<string, Page>;
  /** The style sheet behind `/style.css`. */
  style: string;
  error: (facts: ErrorFacts) => string;
  /**
   * The page with the form that posts `token` to `/login`. The printed address is `/login?token=…`: then the field has that value, and
   * the reader only confirms it.
   * @param found why the last token was refused; undefined for the first visit
   * @param token of the query; '' without one
   */
  login: (found: string | undefined, token: string) => string;
}
