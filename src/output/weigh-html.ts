/**
 * The picture of `weigh`: one HTML file with a treemap, which needs no other file, no script and no network. d3-hierarchy decides
 * where each rectangle is.
 */
import { type HierarchyRectangularNode, hierarchy, treemap } from 'd3-hierarchy';
import type { Weighed } from '../client/weigh.ts';
import type { MapNode } from '../client/weigh-map.ts';
import { jsonPath, nameOf } from '../os/byte-path.ts';
import { escapeText, showName } from '../wire/text.ts';
import { showBytes } from './units.ts';

const [WIDTH, HEIGHT] = [1200, 760];
/** The height of the title of a folder, and of a line of text. */
const LINE = 15;
/** The width of a character. */
const CHARACTER = 6.6;
/** A rectangle that is smaller than this has no text. */
const LEAST_WIDTH = 34;
/** A deeper folder is drawn as one rectangle. */
const MOST_DEPTH = 12;

const STYLE = `
:root { color-scheme: light dark; --ink: #1b1b1b; --paper: #fff; --line: #fff; --folder: #e3e7ee; --file: #9fc3e6; --cache: #f2c46d; --left: #c9c9c9 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #eee; --paper: #16181c; --line: #16181c; --folder: #2b3039; --file: #2f5f8f; --cache: #8a6414; --left: #4a4a4a } }
body { margin: 1rem; font: 14px/1.4 system-ui, sans-serif; color: var(--ink); background: var(--paper) }
h1 { font-size: 1.2rem } svg { width: 100%; height: auto; font: 11px system-ui, sans-serif }
rect { stroke: var(--line) } text { fill: var(--ink); pointer-events: none }
.folder { fill: var(--folder) } .file { fill: var(--file) } .cache { fill: var(--cache) } .left { fill: var(--left) }
table { border-collapse: collapse } td, th { padding: .1rem .6rem; text-align: left } td:first-child { text-align: right }
.key { display: inline-block; width: .9em; height: .9em; border: 1px solid var(--ink) }
`;

/**
 * Writes the page.
 * @param map as `MapSink` makes it
 * @param now for the title
 */
export function weighHtml(weighed: Weighed, map: MapNode, now: Date): string {
  const { taken, left } = weighed.top;
  const title = `dialback weigh ${showPath(map.path)}`;
  return [
    '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
    '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; style-src \'unsafe-inline\'">\n',
    '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
    `<title>${title}</title>\n<style>${STYLE}</style>\n</head>\n<body>\n<h1>${title}</h1>\n`,
    `<p>A backup reads ${showBytes(taken.bytes)} in ${taken.files} files. ${showBytes(left.bytes)} in ${left.files} files are left out. ${now.toISOString().slice(0, 16).replace('T', ' ')} UTC.</p>\n`,
    '<p>',
    ...(
      [
        ['file', 'in the backup'],
        ['cache', 'in the backup, but its programs create it again'],
        ['left', 'left out'],
      ] as const
    ).map(
      ([name, text]) =>
        `<svg class="key" viewBox="0 0 9 9"><rect class="${name}" width="9" height="9"/></svg> ${text} &nbsp; `,
    ),
    '</p>\n',
    drawing(map),
    listing(map, taken.bytes + left.bytes),
    '</body>\n</html>\n',
  ].join('');
}

function drawing(map: MapNode): string {
  const root = hierarchy(map, ({ children }) => children)
    .sum(() => 0)
    .sort((a, b) => b.data.bytes - a.data.bytes);
  // The sum of d3 would forget the light entries, which are dropped.
  root.eachAfter(node => Object.assign(node, { value: node.data.bytes }));
  const placed = treemap<MapNode>()
    .size([WIDTH, HEIGHT])
    .paddingTop(LINE + 2)
    .paddingInner(1)
    .paddingRight(2)
    .paddingBottom(2)
    .paddingLeft(2)
    .round(true)(root);
  const shapes = placed
    .descendants()
    .filter(node => node.depth <= MOST_DEPTH && node.x1 - node.x0 >= 1 && node.y1 - node.y0 >= 1)
    .map(rectangle);
  return `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="treemap of the sizes; the table below has the same entries">\n${shapes.join('')}</svg>\n`;
}

function rectangle(node: HierarchyRectangularNode<MapNode>): string {
  const { data, x0, y0, x1, y1, depth } = node;
  const [width, height] = [x1 - x0, y1 - y0];
  const [name, size] = [
    depth === 0 ? showPath(data.path) : showPath(nameOf(data.path)),
    showBytes(data.bytes),
  ];
  const fits = Math.floor((width - 6) / CHARACTER);
  const label = shorten(`${name} ${size}`, fits);
  const text =
    width < LEAST_WIDTH || height < LINE ? '' : `<text x="${x0 + 3}" y="${y0 + LINE - 4}">${label}</text>`;
  return `<g><title>${showPath(data.path)}\n${size}${data.fate === 'taken' ? '' : ', left out'}</title><rect class="${classOf(data)}" x="${x0}" y="${y0}" width="${width}" height="${height}"/>${text}</g>\n`;
}

function classOf({ fate, cache, children }: MapNode): string {
  if (fate !== 'taken') return 'left';
  if (cache !== undefined) return 'cache';
  return children.length > 0 ? 'folder' : 'file';
}

const LISTED = 200;

/** The heaviest entries as a table, for a screen reader and for copying. */
function listing(map: MapNode, whole: number): string {
  const all = hierarchy(map, ({ children }) => children)
    .descendants()
    .map(({ data }) => data)
    .sort((a, b) => b.bytes - a.bytes)
    .slice(0, LISTED);
  const rows = all.map(
    ({ path, bytes, fate, cache }) =>
      `<tr><td>${showBytes(bytes)}</td><td>${whole === 0 ? '' : `${((100 * bytes) / whole).toFixed(1)}%`}</td><td>${fate === 'taken' ? (cache === undefined ? '' : 'cache') : 'left out'}</td><td>${showPath(path)}</td></tr>\n`,
  );
  return `<table>\n<caption>The heaviest entries</caption>\n<tr><th>size</th><th>share</th><th>mark</th><th>path</th></tr>\n${rows.join('')}</table>\n`;
}

/** Cuts a text that is escaped for HTML, and no entity in its middle. */
function shorten(text: string, most: number): string {
  const characters = text.match(/&[a-z0-9#]+;|[\s\S]/gu) ?? [];
  return characters.length <= most ? text : `${characters.slice(0, Math.max(0, most - 1)).join('')}…`;
}

/** A path of bytes for HTML. A name can have any characters, and must not become markup. */
function showPath(path: string): string {
  const name = jsonPath(path);
  const text = typeof name === 'string' ? escapeText(name, 4096) : showName(name);
  return text.replace(/[&<>"']/g, character => `&#${character.charCodeAt(0)};`);
}
