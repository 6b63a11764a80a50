/** The parts that several pages show: tables, times, sizes, states, links between parts of a list, messages. */
import { showAge, showBytes, showDuration, showTime } from '../../output/units.ts';
import { html, type Markup, type Value } from './html.ts';

/** A column of a table. */
export interface Column<Row> {
  title: Value;
  cell: (row: Row) => Value;
  /** `number`: to the right; `words`: text that may take several lines; `path`: a name, which may be long too. */
  kind?: 'number' | 'words' | 'path' | 'mono';
  /** Whether the cells are the headings of their rows. */
  isHeading?: boolean;
}

/** Makes a table that scrolls by itself where it is wider than the window. @param empty the text in place of an empty table */
export function tableOf<Row>(
  caption: Value,
  columns: readonly Column<Row>[],
  rows: readonly Row[],
  empty: string,
): Markup {
  if (rows.length === 0) return html`<p>${empty}</p>`;
  const head = columns.map(({ title, kind }) => html`<th scope="col" class="${kind ?? ''}">${title}</th>`);
  const body = rows.map(row => {
    const cells = columns.map(({ cell, kind = '', isHeading }) =>
      isHeading
        ? html`<th scope="row" class="${kind}">${cell(row)}</th>`
        : html`<td class="${kind}">${cell(row)}</td>`,
    );
    return html`<tr>${cells}</tr>\n`;
  });
  return html`<div class="scroll" tabindex="0" role="group" aria-label="Table that scrolls sideways">
<table>
<caption>${caption}</caption>
<thead><tr>${head}</tr></thead>
<tbody>
${body}</tbody>
</table>
</div>`;
}

/** Terms with their values. */
export function factsOf(facts: readonly (readonly [term: string, value: Value] | undefined)[]): Markup {
  const shown = facts.filter(each => each !== undefined);
  return html`<dl class="facts">
${shown.map(([term, value]) => html`<dt>${term}</dt><dd>${value}</dd>\n`)}</dl>`;
}

/** A time of the journal or a record: `2026-11-30 19:20`. @param time ISO 8601 */
export function timeOf(time: string): Markup {
  const at = new Date(time);
  if (Number.isNaN(at.getTime())) return html`${time}`;
  const text = at.toISOString();
  return html`<time datetime="${text}">${text.slice(0, 10)} ${text.slice(11, 16)}</time>`;
}

/** The time of a file, to the second. */
export function fileTime(mtimeNs: bigint): Markup {
  const text = showTime(mtimeNs, 0);
  return html`<span title="${showTime(mtimeNs, 9)}">${text.replace('T', ' ').replace('Z', '')}</span>`;
}

/** A size in bytes; the exact number is in the title. */
export function sizeOf(bytes: number): Markup {
  return html`<span title="${bytes} bytes">${showBytes(bytes)}</span>`;
}

/** An age in milliseconds; negative for a time in the future. */
export function ageOf(ms: number): string {
  return ms < 0 ? 'in the future' : showAge(ms);
}

/** A duration in milliseconds; a dash if it is unknown. */
export function spanOf(ms: number | null): string {
  return ms === null ? '-' : showDuration(ms);
}

const STATES: Record<string, { shown: string; look: string }> = {
  ok: { shown: 'ok', look: 'ok' },
  full: { shown: 'full', look: 'ok' },
  done: { shown: 'done', look: 'ok' },
  warning: { shown: 'warning', look: 'warning' },
  incomplete: { shown: 'incomplete', look: 'warning' },
  critical: { shown: 'critical', look: 'critical' },
  failed: { shown: 'failed', look: 'critical' },
};

/** A state in words and color. */
export function stateOf(state: string): Markup {
  const { shown, look } = STATES[state] ?? { shown: state, look: 'plain' };
  return html`<span class="state ${look}">${shown}</span>`;
}

/** A short label. */
export function tagOf(text: Value): Markup {
  return html`<span class="tag">${text}</span> `;
}

/** A message with its kind: the color is not the only sign. */
export function noteOf(
  kind: 'warning' | 'critical' | 'plain',
  title: string,
  lines: readonly Value[],
): Markup | undefined {
  if (lines.length === 0) return undefined;
  return html`<div class="note ${kind}"><p><strong>${title}</strong></p>
<ul>${lines.map(line => html`<li>${line}</li>`)}</ul></div>`;
}

/** A link; only the text if there is no address, because it would be too long. */
export function linkTo(address: string | undefined, shown: Value, label?: string): Markup {
  if (address === undefined) return html`${shown}`;
  return label === undefined
    ? html`<a href="${address}">${shown}</a>`
    : html`<a href="${address}" aria-label="${label}">${shown}</a>`;
}

/** Links to other parts of a list. */
export function pagesOf(
  links: readonly (readonly [text: string, address: string | undefined] | undefined)[],
): Markup | undefined {
  const there = links.filter(each => each?.[1] !== undefined).filter(each => each !== undefined);
  if (there.length === 0) return undefined;
  return html`<nav class="pages" aria-label="Parts of the list"><ul>
${there.map(([text, address]) => html`<li><a href="${address}">${text}</a></li>`)}
</ul></nav>`;
}

/** Links in a line. */
export function linksOf(links: readonly Markup[]): Markup | undefined {
  return links.length === 0
    ? undefined
    : html`<ul class="links">${links.map(each => html`<li>${each}</li>`)}</ul>`;
}
