/** The HTTP server. It answers the requests that routes.ts accepts, on a socket that listens already. */
import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
  STATUS_CODES,
} from 'node:http';
import { Fault } from '../fault.ts';
import { monotonicMs } from '../os/clock.ts';
import { escapeText } from '../wire/text.ts';
import type { PageContext, Site } from './contract.ts';
import { findDownload } from './download.ts';
import { cookieHeader, type Names, readCookie, responseHeaders } from './headers.ts';
import * as limits from './limits.ts';
import { type Refusal, type Route, routeOf } from './routes.ts';
import type { Sessions } from './session.ts';
import { parseQuery } from './target.ts';

/** The parts of a server. */
export interface ServerParts {
  names: Names;
  site: Site;
  sessions: Sessions;
  /** Makes the means of a page, without its signal. */
  context: () => Omit<PageContext, 'signal'>;
  log: (text: string) => void;
}

/** Makes a server that does not listen yet. */
export function makeServer(parts: ServerParts): Server {
  const connections = new limits.Connections(limits.MOST_CONNECTIONS);
  const handler = new Handler(parts);
  const server = createServer(
    {
      maxHeaderSize: limits.HEADER_BYTES,
      headersTimeout: limits.HEADERS_MS,
      requestTimeout: limits.REQUEST_MS,
      connectionsCheckingInterval: 1000,
      keepAliveTimeout: limits.KEEP_ALIVE_MS,
      requireHostHeader: true,
      insecureHTTPParser: false,
    },
    (request, response) => {
      const { socket } = request;
      // A form that comes slowly does not keep others out.
      if (request.method === 'POST') request.once('end', () => connections.serve(socket));
      else connections.serve(socket);
      response.once('close', () => connections.wait(socket));
      void handler.answer(request, response);
    },
  );
  server.maxHeadersCount = limits.MOST_HEADERS;
  server.maxRequestsPerSocket = limits.REQUESTS_OF_CONNECTION;
  server.timeout = limits.STALLED_MS;
  server.on('connection', socket => connections.add(socket));
  // Without this listener node closes it also while the client waits for us: an archive's first byte can take minutes.
  server.on('timeout', socket => {
    if (!connections.isServed(socket) || socket.writableLength > 0) socket.destroy();
  });
  return server;
}

/** A response without a body of its own. */
interface Answer {
  status: number;
  headers?: Record<string, string>;
  html?: string;
  text?: string;
}

/** Answers requests. */
class Handler {
  readonly #parts: ServerParts;
  readonly #pages = new limits.Places(limits.MOST_PAGES);
  readonly #downloads = new limits.Places(limits.MOST_DOWNLOADS);

  constructor(parts: ServerParts) {
    this.#parts = parts;
  }

  async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', url = '', rawHeaders } = request;
    response.on('error', () => {}); // the client has gone
    try {
      const route = routeOf({ method, target: url, rawHeaders }, this.#parts.names);
      if (route.kind === 'refusal') this.#refuse(request, response, route);
      else await this.#serve(route, request, response);
    } catch (error) {
      this.#fail(request, response, error);
    }
  }

  /** A refused request gets no page: its sender is no browser of ours. */
  #refuse(request: IncomingMessage, response: ServerResponse, { status, found }: Refusal): void {
    this.#parts.log(`refused ${shown(request)}: ${found}`);
    const allow: Record<string, string> = status === 405 ? { Allow: 'GET, HEAD, POST' } : {};
    const headers = { ...allow, Connection: 'close' };
    this.#send(response, { status, headers, text: `${STATUS_CODES[status]}: ${found}\n` });
  }

  #fail(request: IncomingMessage, response: ServerResponse, error: unknown): void {
    if (response.destroyed) return;
    const what = error instanceof Error ? (error.stack ?? error.message) : String(error);
    this.#parts.log(`an error at ${shown(request)}: ${what}`);
    if (response.headersSent) response.destroy();
    else
      this.#sendError(response, {
        status: 500,
        tried: 'show the page',
        found: 'an error of the server; its log has it',
      });
  }

  async #serve(route: Route, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { names, sessions, site } = this.#parts;
    const cookie = readCookie(names, route.headers.get('cookie'));
    const isLoggedIn = sessions.isLoggedIn(cookie, monotonicMs());
    const { query } = route.target;
    switch (route.kind) {
      case 'style':
        return this.#send(response, {
          status: 200,
          headers: { 'Content-Type': 'text/css; charset=utf-8' },
          text: site.style,
        });
      case 'login':
        return await this.#login(route, request, response);
      case 'login form':
        if (isLoggedIn) return this.#send(response, { status: 303, headers: { Location: '/' } });
        return this.#send(response, { status: 200, html: site.login(undefined, query.get('token') ?? '') });
      case 'logout':
        if (isLoggedIn) this.#parts.log('logged out');
        sessions.logout(cookie);
        return this.#send(response, {
          status: 303,
          headers: { Location: '/login', 'Set-Cookie': cookieHeader(names, undefined) },
        });
    }
    if (!isLoggedIn) return this.#send(response, { status: 401, html: site.login(undefined, '') });
    await (route.kind === 'download' ? this.#download(route, response) : this.#page(route, response));
  }

  async #login(route: Route, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { names, sessions, site, log } = this.#parts;
    const token = await readForm(request, route.headers);
    if (token === undefined)
      return this.#send(response, {
        status: 400,
        headers: { Connection: 'close' },
        text: 'Bad Request: this is not the form\n',
      });
    const result = sessions.login(token, monotonicMs());
    if ('reason' in result) {
      log(`login refused: ${result.reason}`);
      return this.#send(response, { status: 403, html: site.login(result.reason, '') });
    }
    log('logged in');
    this.#send(response, {
      status: 303,
      headers: { Location: '/', 'Set-Cookie': cookieHeader(names, result.value) },
    });
  }

  async #page({ target }: Route, response: ServerResponse): Promise<void> {
    using place = this.#pages.take();
    if (place === undefined) return this.#busy(response);
    const page = this.#parts.site.pages.get(target.path[0] ?? '');
    if (page === undefined)
      return this.#sendError(response, {
        status: 404,
        tried: 'find the page',
        found: 'there is no such page',
      });
    using patience = watch(response, limits.PAGE_MS);
    const { signal } = patience;
    try {
      const { status, html } = await page(target, { ...this.#parts.context(), signal });
      if (Buffer.byteLength(html) > limits.PAGE_BYTES) throw new Error('the page is too long');
      this.#send(response, { status, html });
    } catch (error) {
      this.#explain(response, signal, error);
    }
  }

  async #download({ target }: Route, response: ServerResponse): Promise<void> {
    using place = this.#downloads.take();
    if (place === undefined) return this.#busy(response);
    using patience = watch(response, undefined);
    const { signal } = patience;
    const { log } = this.#parts;
    try {
      const { headers, send } = await findDownload(this.#parts.context().store, target.path, { signal, log });
      log(`download of /${target.path.slice(1).join('/')}`);
      response.writeHead(200, responseHeaders(this.#parts.names, headers));
      if (response.req.method === 'HEAD') response.end();
      else await send(response, signal);
    } catch (error) {
      if (signal.aborted && response.destroyed) return;
      if (response.headersSent) throw error;
      this.#explain(response, signal, error);
    }
  }

  /** A Fault has what the reader needs. Anything else is an error of ours. */
  #explain(response: ServerResponse, signal: AbortSignal, error: unknown): void {
    if (response.destroyed) return;
    if (!(error instanceof Fault)) throw error;
    const status = signal.aborted ? 503 : error.exit === 'usage' ? 400 : 404;
    const { tried, found, next } = error;
    this.#sendError(response, { status, tried, found, next });
  }

  #busy(response: ServerResponse): void {
    const tried = 'show the page';
    const found = 'the server is busy with others; try again in a few seconds';
    this.#sendError(response, { status: 503, tried, found }, { 'Retry-After': '3' });
  }

  #sendError(
    response: ServerResponse,
    facts: { status: number; tried: string; found: string; next?: string | undefined },
    headers: Record<string, string> = {},
  ): void {
    const html = this.#parts.site.error({ next: undefined, ...facts, isLoggedIn: true });
    this.#send(response, { status: facts.status, headers, html });
  }

  #send(response: ServerResponse, { status, headers = {}, html, text = '' }: Answer): void {
    const type = html === undefined ? 'text/plain; charset=utf-8' : 'text/html; charset=utf-8';
    const body = Buffer.from(html ?? text, 'utf8');
    const more = { 'Content-Type': type, 'Content-Length': String(body.length), ...headers };
    response.writeHead(status, responseHeaders(this.#parts.names, more));
    response.end(body);
  }
}

/** A request for the log. Its query is left out, since that can be a token. */
function shown({ method = '', url = '' }: IncomingMessage): string {
  return `${method} ${escapeText(url.split('?', 1)[0] ?? '', 200)}`;
}

/** A signal that aborts when the client has gone, and after a time. */
function watch(response: ServerResponse, ms: number | undefined): { signal: AbortSignal } & Disposable {
  const controller = new AbortController();
  const stop = (found: string): void => controller.abort(new Fault({ tried: 'show the page', found }));
  const leave = (): void => stop('the client has gone');
  const timer =
    ms === undefined ? undefined : setTimeout(() => stop(`it takes more than ${ms / 1000} s`), ms);
  response.once('close', leave);
  return {
    signal: controller.signal,
    [Symbol.dispose]: () => {
      clearTimeout(timer);
      response.off('close', leave);
    },
  };
}

/** @returns the token of the form; undefined for any other body */
async function readForm(
  request: IncomingMessage,
  headers: ReadonlyMap<string, string>,
): Promise<string | undefined> {
  const type = headers.get('content-type')?.split(';')[0]?.trim().toLowerCase();
  if (type !== 'application/x-www-form-urlencoded') return undefined;
  let text = '';
  for await (const chunk of request) {
    text += (chunk as Buffer).toString('latin1');
    if (text.length > limits.FORM_BYTES) return undefined;
  }
  const form = parseQuery(text);
  return 'reason' in form ? undefined : form.value.get('token');
}
