/**
 * Markup by a tagged template. `html` escapes each value that is not markup itself, so text of a client cannot become an element, an
 * attribute or a script. It also shows control characters and bidirectional marks as their code (`escapeText`), in attributes too.
 */
import { escapeText, type JsonName, jsonName, showName } from '../../wire/text.ts';

/** Text that `html` made. Only this file makes it. */
class Markup {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

export type { Markup };

/** A value of a template. `undefined`, `null` and `false` become empty text. */
export type Value = Markup | string | number | bigint | undefined | null | false | readonly Value[];

const ENTITIES: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

function escapeMarkup(text: string): string {
  return text.replace(/[&<>"']/g, character => ENTITIES[character] ?? '');
}

/** The most characters of one value. A path has fewer. */
const VALUE_LIMIT = 32_768;
/** An attribute with an address ends the text before its value. */
const ADDRESS = /\s(?:href|action|src)="$/;
const UNQUOTED = /=\s*$/;

function textOf(value: Value): string {
  if (value instanceof Markup) return value.text;
  if (value === undefined || value === null || value === false) return '';
  if (typeof value === 'object') return value.map(textOf).join('');
  return escapeMarkup(typeof value === 'string' ? escapeShown(value) : String(value));
}

/** Escapes characters that a browser obeys or hides. A backslash stays, since it does nothing in markup. */
function escapeShown(text: string): string {
  return text
    .split('\\')
    .map(part => escapeText(part, VALUE_LIMIT))
    .join('\\');
}

/**
 * Makes markup.
 * @throws Error for a value in an attribute without quotes, and for an address that does not lead to this server: bugs of a page
 */
export function html(parts: TemplateStringsArray, ...values: readonly Value[]): Markup {
  let text = parts[0] ?? '';
  for (const [at, value] of values.entries()) {
    const before = parts[at] ?? '';
    if (UNQUOTED.test(before)) throw new Error('a value in an attribute without quotes');
    const shown = textOf(value);
    if (ADDRESS.test(before) && !/^(?:\/(?!\/)|#|\?)/.test(shown))
      throw new Error('an address that does not begin with a slash');
    text += shown + (parts[at + 1] ?? '');
  }
  return new Markup(text);
}

/** The value of a form's field: its own characters, since the browser sends them back. */
export function fieldValue(text: string): Markup {
  return new Markup(escapeMarkup(text.toWellFormed()));
}

/** Our own style sheet, for a style element. @throws Error for text that would end the element */
export function styleSheet(text: string): Markup {
  if (text.includes('<')) throw new Error('a style sheet with a "<"');
  return new Markup(text);
}

/** The escapes of `showName`. A backslash of the name itself is doubled, so none of these is the client's text. */
const SHOWN_ESCAPE = /\\(?:\\|[nrt]|u\{[0-9a-f]+\}|u[0-9a-f]{4}|[0-7]{3})/g;

/** Name characters of a name, as the command line shows it: `\u202e` in place of the mark. */
export function nameText(name: Buffer | JsonName): string {
  return showName(Buffer.isBuffer(name) ? jsonName(name) : name);
}

/**
 * A name of a client, from left to right, so that the end of a file's name is at its end. It is isolated, so that its direction does
 * not reorder the text around it. Escapes are marked.
 * @param name its bytes
 */
export function nameOf(name: Buffer): Markup {
  const shown = nameText(name);
  let text = '';
  let from = 0;
  for (const { 0: found, index } of shown.matchAll(SHOWN_ESCAPE)) {
    text += `${escapeMarkup(shown.slice(from, index))}<span class="escape">${escapeMarkup(found)}</span>`;
    from = index + found.length;
  }
  return new Markup(`<bdi class="name" dir="ltr">${text}${escapeMarkup(shown.slice(from))}</bdi>`);
}
