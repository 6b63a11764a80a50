// Writes man(7): escapes text, marks code and arguments, and fills lines. The pages have only ASCII, so that each reader of manual
// pages shows them. mandoc -Tlint and man --warnings take them without a word (test/regress/install/manual-pages.test.ts).

/** The longest line of a page's source; mandoc -Tlint reports longer ones. */
const WIDTH = 78;

const ASCII: Record<string, string> = {
  '…': '...',
  '—': '\\(em',
  '–': '\\(en',
  '“': '\\(lq',
  '”': '\\(rq',
  '’': "'",
};

/** Text in which no character has a meaning to roff. @throws Error for a character that is not ASCII and has no name here */
export function escapeRoff(text: string): string {
  const escaped = text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll("'", '\\(aq')
    .replaceAll('`', '\\(ga')
    .replaceAll('^', '\\(ha')
    .replaceAll('~', '\\(ti')
    .replaceAll('"', '\\(dq')
    .replace(/[^\n -~]/g, found => ASCII[found] ?? found);
  const odd = /[^\n -~]/.exec(escaped);
  if (odd) throw new Error(`no name in roff for "${odd[0]}" in: ${text}`);
  return escaped;
}

export const bold = (text: string): string => `\\fB${escapeRoff(text)}\\fR`;
export const italic = (text: string): string => `\\fI${escapeRoff(text)}\\fR`;

/** A hyphen between letters is one at which a line may end; any other is a minus, which can be copied into a shell. */
function prose(text: string): string {
  return escapeRoff(text)
    .replaceAll(/(?<=[a-z])\\-(?=[a-z])/g, '-')
    .replaceAll('\\(aq', "'");
}

/** Words in capital letters are arguments, as help shows them; backquotes, `--options` and `name = …` are code. */
export function inline(text: string): string {
  const pattern =
    /`([^`]+)`|(?<![\w-])(--?[a-z][a-z-]*)(?![\w-])|(?<![\w./-])((?:~\/|\/(?:etc|var|usr|home)\/)[\w./~@-]*\w)/g;
  let at = 0;
  let out = '';
  for (const found of text.matchAll(pattern)) {
    out += prose(text.slice(at, found.index));
    const [whole, code, option, path] = found;
    out += path === undefined ? bold(code ?? option ?? '') : italic(path);
    at = found.index + whole.length;
  }
  return out + prose(text.slice(at));
}

/** A command line as help shows it: words of the command are bold, arguments italic. */
export function usageText(usage: string): string {
  return usage
    .split(/([\s[\]|]+|…)/)
    .map(part => {
      if (/^[\s[\]|]*$|^…$/.test(part)) return escapeRoff(part);
      return /^(?:[A-Z][\w.:]*|[A-Z]+@[A-Z]+)$/.test(part) ? italic(part) : bold(part);
    })
    .join('');
}

/** A paragraph: each sentence begins a line, as mandoc's style asks for, and no line is longer than {@link WIDTH}. */
export function fill(text: string): string {
  const sentences = text.split(/(?<=[.?:])\s+(?=[A-Z"\\])/);
  return sentences.map(fillSentence).join('\n');
}

function fillSentence(sentence: string): string {
  const lines: string[] = [];
  let line = '';
  for (const word of sentence.split(/\s+/).filter(Boolean)) {
    if (line !== '' && line.length + 1 + word.length > WIDTH) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line].map(guarded).join('\n');
}

/** A line of text that begins like a request gets a character without width in front. */
function guarded(line: string): string {
  return /^[.']/.test(line) ? `\\&${line}` : line;
}

/** A paragraph of plain text. */
export const paragraph = (text: string): string => `.PP\n${fill(inline(text))}\n`;

/** A paragraph behind a term. Several terms share one. @param tags already formatted */
export function item(tags: readonly string[], text: string): string {
  const [first = '', ...others] = tags.map(guarded);
  const terms = [`.TP\n${first}\n`, ...others.map(each => `.TQ\n${each}\n`)].join('');
  return `${terms}${fill(inline(text))}\n`;
}

/** Lines that stay as they are. */
export function example(lines: readonly string[]): string {
  const shown = lines.map(line => (line === '' ? '' : guarded(escapeRoff(line))));
  return `.PP\n.in +4n\n.nf\n${shown.join('\n')}\n.fi\n.in\n`;
}

export const heading = (title: string): string =>
  `.SH ${title.includes(' ') ? `"${escapeRoff(title)}"` : escapeRoff(title)}\n`;
export const subheading = (title: string): string => `.SS "${title}"\n`;
