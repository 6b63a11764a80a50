/**
 * Charts as SVG, drawn on the server. Each has a text in place of the drawing for a reader who does not see it, and each is beside a
 * table with its numbers.
 */
import { scaleLinear, scaleUtc } from 'd3-scale';
import { area, line } from 'd3-shape';
import { showBytes } from '../../output/units.ts';
import { html, type Markup, type Value } from './html.ts';

/** A value at a time. */
export interface Point {
  time: Date;
  value: number;
}

/** Numbers in an address of SVG need no more digits. */
const digits = (value: number): string => String(Math.round(value * 10) / 10);

/**
 * A line without axes, for a cell of a table.
 * @param points oldest first
 * @param text in place of the drawing
 */
export function growthLine(points: readonly Point[], text: string): Markup {
  const [width, height, edge] = [120, 28, 2];
  const [first, last] = [points[0], points.at(-1)];
  if (first === undefined || last === undefined || points.length < 2)
    return html`<span class="soft">-</span>`;
  const x = scaleUtc([first.time, last.time], [edge, width - edge]);
  const y = scaleLinear([0, highest(points)], [height - edge, edge]);
  const place = { x: (each: Point): number => x(each.time), y: (each: Point): number => y(each.value) };
  const below = area<Point>(place.x, height - edge, place.y).digits(1);
  const above = line<Point>(place.x, place.y).digits(1);
  return html`<svg role="img" aria-label="${text}" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}">
<path class="area" d="${below(points)}"/><path class="line" d="${above(points)}"/></svg>`;
}

function highest(points: readonly Point[]): number {
  return points.reduce((most, each) => Math.max(most, each.value), 0) || 1;
}

/** The drawing area of a chart with axes. */
const FRAME = { width: 720, height: 180, left: 104, right: 12, top: 10, bottom: 24 };
/** The most points of a chart. If there are more, each point stands for the highest of some. */
const MOST_POINTS = 350;

/** Reduces the number of points: it keeps the highest of each few. */
function thinned(points: readonly Point[]): Point[] {
  const each = Math.ceil(points.length / MOST_POINTS);
  const kept: Point[] = [];
  for (let at = 0; at < points.length; at += each) {
    const group = points.slice(at, at + each);
    const most = group.reduce((one, other) => (other.value > one.value ? other : one));
    kept.push(most);
  }
  return kept;
}

type Axis = ReturnType<typeof scaleUtc<number>>;

/** The scale of the times; a single point is in the middle. */
function timeScale(points: readonly { time: Date }[]): Axis {
  const times = points.map(each => each.time.getTime());
  const [first, last] = [Math.min(...times), Math.max(...times)];
  const slack = first === last ? DAY_MS : 0;
  return scaleUtc(
    [new Date(first - slack), new Date(last + slack)],
    [FRAME.left + 4, FRAME.width - FRAME.right - 4],
  );
}

const DAY_MS = 86_400_000;
const TIME_TICKS = 5;
const VALUE_TICKS = 4;

function timeAxis(x: Axis): Markup {
  const bottom = FRAME.height - FRAME.bottom;
  const format = x.tickFormat(TIME_TICKS);
  const ticks = x.ticks(TIME_TICKS).map(
    time => html`<line class="axis" x1="${digits(x(time))}" x2="${digits(x(time))}" y1="${bottom}" y2="${bottom + 4}"/>
<text x="${digits(x(time))}" y="${FRAME.height - 6}" text-anchor="middle">${format(time)}</text>\n`,
  );
  return html`<line class="axis" x1="${FRAME.left}" x2="${FRAME.width - FRAME.right}" y1="${bottom}" y2="${bottom}"/>\n${ticks}`;
}

/** Steps between the marks of an axis of bytes are powers of 2, so that the marks are round in KiB and GiB. */
function byteTicks(most: number): number[] {
  const step = 2 ** Math.max(0, Math.ceil(Math.log2(most / VALUE_TICKS)));
  return Array.from({ length: Math.floor(most / step) + 1 }, (_, at) => at * step);
}

/** The values of a chart, and how it shows them. */
interface ChartOptions {
  points: readonly Point[];
  /** The heading below the drawing. */
  caption: Value;
  /** In place of the drawing. */
  text: string;
  look: 'area' | 'bars';
  unit: 'bytes' | 'seconds';
}

/** A chart of values over time. @returns undefined if there are too few values */
export function chartOf({ points: all, caption, text, look, unit }: ChartOptions): Markup | undefined {
  if (all.length < 2) return undefined;
  const points = thinned(all);
  const x = timeScale(points);
  const most = highest(points);
  const y = scaleLinear([0, most], [FRAME.height - FRAME.bottom, FRAME.top]);
  const ticks = unit === 'bytes' ? byteTicks(most) : y.ticks(VALUE_TICKS);
  const show = unit === 'bytes' ? showBytes : (value: number): string => spanText(value);
  const rows = ticks.map(
    value => html`<line class="axis" x1="${FRAME.left}" x2="${FRAME.width - FRAME.right}" y1="${digits(y(value))}" y2="${digits(y(value))}"/>
<text x="${FRAME.left - 6}" y="${digits(y(value) + 4)}" text-anchor="end">${show(value)}</text>\n`,
  );
  const drawing = look === 'area' ? areaOf(points, x, y) : barsOf(points, x, y, show);
  return html`<figure><svg role="img" aria-label="${text}" viewBox="0 0 ${FRAME.width} ${FRAME.height}" width="${FRAME.width}" height="${FRAME.height}">
${rows}${timeAxis(x)}${drawing}</svg>
<figcaption>${caption}</figcaption></figure>`;
}

type ValueAxis = ReturnType<typeof scaleLinear<number, number>>;

function areaOf(points: readonly Point[], x: Axis, y: ValueAxis): Markup {
  const place = { x: (each: Point): number => x(each.time), y: (each: Point): number => y(each.value) };
  const below = area<Point>(place.x, y(0), place.y).digits(1);
  const above = line<Point>(place.x, place.y).digits(1);
  return html`<path class="area" d="${below(points)}"/><path class="line" d="${above(points)}"/>`;
}

function barsOf(points: readonly Point[], x: Axis, y: ValueAxis, show: (value: number) => string): Markup {
  const width = Math.min(8, Math.max(1, (0.7 * (FRAME.width - FRAME.left)) / points.length));
  const bars = points.map(({ time, value }) => {
    const top = Math.min(y(value), y(0) - 1);
    return html`<rect x="${digits(x(time) - width / 2)}" y="${digits(top)}" width="${digits(width)}" height="${digits(y(0) - top)}"><title>${time.toISOString().slice(0, 16).replace('T', ' ')}: ${show(value)}</title></rect>\n`;
  });
  return html`<g class="bars">${bars}</g>`;
}

/** Seconds for an axis. */
function spanText(seconds: number): string {
  if (seconds < 120) return `${Math.round(seconds * 10) / 10} s`;
  return seconds < 7200 ? `${Math.round(seconds / 6) / 10} min` : `${Math.round(seconds / 360) / 10} h`;
}

/** A snapshot in the time line. */
export interface Mark {
  time: Date;
  name: string;
  state: 'full' | 'incomplete';
  isFlagged: boolean;
  isPinned: boolean;
  /** Whether the rules of retention remove it. */
  isGoing: boolean;
}

const LINE = { width: 720, height: 64, middle: 22 };
/** The time line has the newest ones, at most this number. */
const MOST_MARKS = 400;

/** The time line of a client's snapshots. @param text in place of the drawing */
export function timeLine(marks: readonly Mark[], caption: Value, text: string): Markup | undefined {
  if (marks.length < 2) return undefined;
  const shown = marks.slice(-MOST_MARKS);
  const x = timeScale(shown);
  const format = x.tickFormat(TIME_TICKS);
  const { width, height, middle } = LINE;
  const ticks = x.ticks(TIME_TICKS).map(
    time => html`<line class="axis" x1="${digits(x(time))}" x2="${digits(x(time))}" y1="${middle}" y2="${middle + 18}"/>
<text x="${digits(x(time))}" y="${height - 8}" text-anchor="middle">${format(time)}</text>\n`,
  );
  return html`<figure><svg role="img" aria-label="${text}" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}">
<line class="axis" x1="${FRAME.left}" x2="${width - FRAME.right}" y1="${middle}" y2="${middle}"/>
${ticks}${shown.map(mark => markOf(mark, x(mark.time)))}</svg>
<figcaption>${caption}</figcaption></figure>`;
}

function markOf(mark: Mark, at: number): Markup {
  const { middle } = LINE;
  const { name, state, isFlagged, isPinned, isGoing } = mark;
  const words = [state, isFlagged && 'flagged', isPinned && 'pinned', isGoing && 'to be removed'].filter(
    Boolean,
  );
  return html`<g><title>${name}: ${words.join(', ')}</title>
<circle class="${isFlagged ? 'flagged' : state}" cx="${digits(at)}" cy="${middle}" r="4"/>
${isPinned && html`<path class="line" d="M${digits(at)} ${middle - 6}V${middle - 16}"/>`}
${isGoing && html`<path class="going" d="M${digits(at - 4)} ${middle + 7}L${digits(at + 4)} ${middle + 15}M${digits(at + 4)} ${middle + 7}L${digits(at - 4)} ${middle + 15}"/>`}</g>
`;
}

/** The room of a file system, in bytes. */
interface Room {
  total_bytes: number;
  free_bytes: number;
  min_free_bytes: number;
}

/** A bar of the used space, with a mark where the free space that must stay begins. @param text in place of the drawing */
export function diskBar(
  { total_bytes: total, free_bytes: free, min_free_bytes: least }: Room,
  text: string,
): Markup {
  const [width, height] = [480, 16];
  const x = scaleLinear([0, Math.max(1, total)], [0, width]).clamp(true);
  const limit = digits(x(total - least));
  return html`<figure><svg role="img" aria-label="${text}" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}">
<rect class="room" x="0.5" y="0.5" width="${width - 1}" height="${height - 1}"/>
<rect class="used" x="0" y="0" width="${digits(x(total - free))}" height="${height}"/>
<path class="going" d="M${limit} 0V${height}"/></svg>
<figcaption>Used space, and a red line where the space begins that must stay free</figcaption></figure>`;
}
