/** The frame of each page: its head, the line with the way to it, its content and its foot. */
import { html, type Markup, type Value } from './html.ts';

/** A step of the way from the overview to a page. */
export interface Step {
  shown: Value;
  /** Undefined for the page itself. */
  address: string | undefined;
}

/** A page without its frame. */
export interface Content {
  /** Plain text, for the title bar. */
  title: string;
  heading: Value;
  /** Behind the link to the overview. */
  way: readonly Step[];
  body: Value;
  /** Whether the reader can log out. */
  isLoggedIn: boolean;
}

/** Makes a whole document that the server sends. */
export function documentOf({ title, heading, way, body, isLoggedIn }: Content): string {
  const head = html`<title>${title} - dialback</title>
<link rel="stylesheet" href="/style.css">`;
  const bar = html`${isLoggedIn ? wayOf(way) : html`<span class="home">dialback</span>`}
${isLoggedIn && html`<form method="post" action="/logout"><button type="submit">Log out</button></form>`}`;
  return frameOf({ head, bar, heading, body, foot: 'Times are in UTC. The pages only read the store.' });
}

/** The parts of a document. */
interface Frame {
  head: Markup;
  /** The line at the top. */
  bar: Markup;
  heading: Value;
  body: Value;
  foot: Value;
}

/** Puts the parts of a document together. */
export function frameOf({ head, bar, heading, body, foot }: Frame): string {
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="same-origin">
${head}
</head>
<body>
<a class="skip" href="#content">Skip to the content</a>
<header class="bar">
${bar}
</header>
<main id="content" tabindex="-1">
<h1>${heading}</h1>
${body}
</main>
<footer>${foot}</footer>
</body>
</html>
`;
  return page.text;
}

function wayOf(way: readonly Step[]): Markup {
  const steps = way.map(({ shown, address }) =>
    address === undefined
      ? html`<li aria-current="page">${shown}</li>`
      : html`<li><a href="${address}">${shown}</a></li>`,
  );
  const home =
    way.length === 0
      ? html`<li aria-current="page"><span class="home">All clients</span></li>`
      : html`<li><a class="home" href="/">All clients</a></li>`;
  return html`<nav aria-label="Way to this page"><ol>${home}${steps}</ol></nav>`;
}
