/** All pages of `dialback web`, for its server. */
import type { ErrorFacts, Page, Site } from '../contract.ts';
import { browse } from './browse.ts';
import { factsOf } from './cells.ts';
import { client } from './client.ts';
import { differences } from './differences.ts';
import { fieldValue, html } from './html.ts';
import { documentOf } from './layout.ts';
import { overview } from './overview.ts';
import { search } from './search.ts';
import { STYLE } from './style.ts';
import { versions } from './versions.ts';

const PAGES: [string, Page][] = [
  ['', overview],
  ['client', client],
  ['browse', browse],
  ['versions', versions],
  ['search', search],
  ['diff', differences],
];

/** The page of an error. */
function errorPage({ status, tried, found, next, isLoggedIn }: ErrorFacts): string {
  const title = status >= 500 ? 'An error of the server' : 'This page cannot be shown';
  const body = html`${factsOf([
    ['Cannot', tried],
    ['Found', found],
    next === undefined ? undefined : ['Next step', html`<code>${next}</code>`],
  ])}
<p class="soft">Status ${status}</p>
${isLoggedIn && html`<p><a href="/">All clients</a></p>`}`;
  return documentOf({
    title,
    heading: title,
    way: [{ shown: 'error', address: undefined }],
    body,
    isLoggedIn,
  });
}

/** The page with the form for the token. @param token that the field has already */
function loginPage(found: string | undefined, token: string): string {
  const body = html`${found !== undefined && html`<div class="note critical" role="alert"><p>${found}</p></div>`}
<form class="fields" method="post" action="/login">
<p><label for="token">Token that dialback web printed</label>
<input type="password" id="token" name="token" value="${fieldValue(token)}" autocomplete="off" required autofocus></p>
<p><button type="submit">Log in</button></p>
</form>`;
  return documentOf({ title: 'Log in', heading: 'Log in', way: [], body, isLoggedIn: false });
}

/** The pages, the style sheet, and the pages for errors and for the login. */
export const site: Site = { pages: new Map(PAGES), style: STYLE, error: errorPage, login: loginPage };
