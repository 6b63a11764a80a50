/**
 * For tests that must tell one message from another: they name it (messages.ts) and do not repeat its words. An exit status, a code,
 * the name of a finding or a key of JSON is better where it is enough.
 */
import { MESSAGES } from './messages.ts';

/** The name of a part of a message. */
export type MessageName = keyof typeof MESSAGES;

/** The text in place of a `…`. The flags of a regular expression have no effect. */
type Value = string | number | RegExp;

const escaped = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
const partsOf = (name: MessageName): string[] => MESSAGES[name].split('…');

function sourceOf(value: Value | undefined): string {
  if (value === undefined) return '.*';
  return value instanceof RegExp ? value.source : escaped(String(value));
}

/**
 * Matches a part of a message, wherever it stands in the text.
 * @param values the texts in place of each `…`, in their order; anything matches where there are fewer
 */
export function says(name: MessageName, ...values: Value[]): RegExp {
  const [first = '', ...rest] = partsOf(name);
  if (values.length > rest.length)
    throw new Error(`"${MESSAGES[name]}" has ${rest.length} places for values`);
  return new RegExp(
    rest.reduce((all, part, at) => all + sourceOf(values[at]) + escaped(part), escaped(first)),
  );
}

/** The words of a part of a message, with a value in place of each `…`. */
export function wording(name: MessageName, ...values: (string | number)[]): string {
  const [first = '', ...rest] = partsOf(name);
  if (values.length !== rest.length)
    throw new Error(`"${MESSAGES[name]}" has ${rest.length} places for values`);
  return rest.reduce((all, part, at) => `${all}${values[at]}${part}`, first);
}

/** A regular expression that has parts of messages in it: matching`^critical: .* ${says('is-not-a-private-key')}$`. */
export function matching(source: TemplateStringsArray, ...parts: RegExp[]): RegExp {
  return new RegExp(String.raw(source, ...parts.map(each => each.source)));
}

/** The same, where ^ and $ match at the beginning and the end of each line. */
export function matchingLines(source: TemplateStringsArray, ...parts: RegExp[]): RegExp {
  return new RegExp(String.raw(source, ...parts.map(each => each.source)), 'm');
}
