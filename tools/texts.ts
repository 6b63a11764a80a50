// The comments and strings of the repository's files, with their lines, for tools that check or list the language of the project.

import type { Node, SourceFile } from 'typescript/unstable/ast';
import {
  isExportDeclaration,
  isImportDeclaration,
  isNoSubstitutionTemplateLiteral,
  isStringLiteral,
  isTaggedTemplateExpression,
  isTemplateExpression,
  SyntaxKind,
} from 'typescript/unstable/ast';

/** A text that stands in a file. Its line breaks are those of the file; `line` counts from 1. */
export interface Passage {
  line: number;
  text: string;
}

/**
 * The value of a string or a template. A template of markup is reduced to its words, without the tags.
 * @returns undefined for any other node; `…` stands for each part that is known only at run time
 */
export function textOf(node: Node): string | undefined {
  const isTagged = node.parent && isTaggedTemplateExpression(node.parent) && node.parent.template === node;
  if (isTagged && node.parent.tag.getText() === 'html') return wordsOfMarkup(templateText(node) ?? '');
  return templateText(node);
}

/** The words of markup, a line for each text between tags, and for each label in a tag. */
function wordsOfMarkup(text: string): string {
  const words = text.replace(/<[^<>]*>/g, tag => {
    const labels = [...tag.matchAll(/(?:aria-label|title)="([^"]*)"/g)].map(([, label]) => label);
    return `\n${labels.join('\n')}\n`;
  });
  const lines = words.split('\n').map(each => each.trim());
  return lines.filter(each => /[A-Za-z]{2}/.test(each)).join('\n');
}

function templateText(node: Node): string | undefined {
  if (isStringLiteral(node) || isNoSubstitutionTemplateLiteral(node)) return node.text;
  if (!isTemplateExpression(node)) return undefined;
  let text = '';
  const visit = (each: Node): void => {
    if (each.kind === SyntaxKind.TemplateHead) text += (each as unknown as { text: string }).text;
    else if (each.kind === SyntaxKind.TemplateSpan)
      text += `…${(each as unknown as { literal: { text: string } }).literal.text}`;
  };
  node.forEachChild(visit);
  return text;
}

/** Statements in SQL, options of ssh, and the like: several words, but no English. */
const CODE =
  /^\s*(?:SELECT|INSERT|UPDATE|DELETE|CREATE|PRAGMA|BEGIN|WITH|DROP|import|export) |^-|[{}]|=>|\$\(|;$/;

/** Whether a string is text for a person: at least two words in a row, and not code. */
export function isReadable(text: string): boolean {
  return /[A-Za-z…"'`,:)] +[a-z"`(][a-z"`…]/.test(text) && !CODE.test(text);
}

/** All strings of a TypeScript file that a person can read, in their order, without the names of imported files. */
export function stringsOf(source: SourceFile): Passage[] {
  const found: Passage[] = [];
  const visit = (node: Node): void => {
    if (isImportDeclaration(node) || isExportDeclaration(node)) return;
    const text = textOf(node);
    if (text !== undefined && isReadable(text)) found.push({ line: lineOf(source, node), text });
    node.forEachChild(visit);
  };
  visit(source);
  return found;
}

/** The line of a node, from 1. */
export function lineOf(source: SourceFile, node: Node): number {
  return source.getLineAndCharacterOfPosition(node.getStart(source)).line + 1;
}

/** The comments of a TypeScript file. Lines that begin with `//` and follow each other are one comment. */
export function commentsOf(source: SourceFile): Passage[] {
  return slashComments(withoutLiterals(source));
}

/** The file with blanks in the place of its strings, templates and regular expressions, which can look like comments. */
function withoutLiterals(source: SourceFile): string {
  let text = source.text;
  const kinds = new Set([
    SyntaxKind.StringLiteral,
    SyntaxKind.NoSubstitutionTemplateLiteral,
    SyntaxKind.TemplateHead,
    SyntaxKind.TemplateMiddle,
    SyntaxKind.TemplateTail,
    SyntaxKind.RegularExpressionLiteral,
  ]);
  const visit = (node: Node): void => {
    if (kinds.has(node.kind)) {
      const [start, end] = [node.getStart(source), node.end];
      text = text.slice(0, start) + text.slice(start, end).replace(/[^\n]/g, ' ') + text.slice(end);
    }
    node.forEachChild(visit);
  };
  visit(source);
  return text;
}

/** The comments of a text in which each `//` and each slash with an asterisk begins one. */
function slashComments(text: string): Passage[] {
  const found: (Passage & { isLine: boolean; end: number })[] = [];
  for (const match of text.matchAll(/\/\*([\s\S]*?)\*\/|\/\/(.*)/g)) {
    const line = lineAt(text, match.index);
    const isLine = match[2] !== undefined;
    const words = (match[1] ?? match[2] ?? '')
      .replace(/^[ \t]*\* ?/gm, '')
      .replace(/^\*/, '')
      .replace(/^ {4,}.*$/gm, ''); // an example or a diagram
    const before = found.at(-1);
    // A comment behind code stands for itself.
    const isAlone = /^[ \t]*$/.test(text.slice(text.lastIndexOf('\n', match.index) + 1, match.index));
    if (before?.isLine && isLine && isAlone && before.end === line - 1) {
      before.text += `\n${words}`;
      before.end = line;
    } else
      found.push({ line, text: words, isLine: isLine && isAlone, end: line + words.split('\n').length - 1 });
  }
  return found.map(({ line, text }) => ({ line, text }));
}

function lineAt(text: string, index: number): number {
  return text.slice(0, index).split('\n').length;
}

/** The comments of a C file, and its strings that a person can read. */
export function passagesOfC(text: string): { comments: Passage[]; strings: Passage[] } {
  const strings: Passage[] = [];
  const bare = text.replace(
    /\/\*[\s\S]*?\*\/|\/\/.*|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)'/g,
    (match, index: number) => {
      if (match.startsWith('/')) return match;
      const words = match.slice(1, -1).replaceAll('\\n', '').replaceAll('\\"', '"');
      const shown = words.replace(/%[-+ #0]*[\d.*]*[hlzjt]*[a-zA-Z]/g, '…');
      if (match.startsWith('"') && isReadable(shown))
        strings.push({ line: lineAt(text, index), text: shown });
      return match.replace(/[^\n]/g, ' ');
    },
  );
  return { comments: slashComments(bare), strings };
}

/** The comments of a file in which `#` begins one: shell, TOML, cron, systemd. A line of settings that is switched off is none. */
export function hashComments(text: string): Passage[] {
  const found: Passage[] = [];
  let last = -1;
  for (const [index, line] of text.split('\n').entries()) {
    const words = /^\s*# (.*)/.exec(line)?.[1] ?? (/^\s*#\s*$/.test(line) ? '' : undefined);
    if (words === undefined) continue;
    const before = found.at(-1);
    if (before && last === index - 1) before.text += `\n${words}`;
    else found.push({ line: index + 1, text: words });
    last = index;
  }
  return found;
}

/**
 * The paragraphs, headings, list items and cells of a Markdown file, without its blocks of code, comments and links' targets.
 * Code inside of a sentence stays.
 */
export function markdownPassages(text: string): Passage[] {
  const blank = (match: string): string => match.replace(/[^\n]/g, ' ');
  const plain = text
    .replace(/^ *(```|~~~)[\s\S]*?^ *\1 *$/gm, blank)
    .replace(/<!--[\s\S]*?-->/g, blank)
    .replace(/\]\([^)\s]*\)/g, ']')
    .replace(/^(?: {4}|\t)(?! *[-*\d]).*$/gm, (line, at: number, whole: string) =>
      /\n[ \t]*\n$/.test(whole.slice(Math.max(0, at - 200), at)) &&
      !/^ {4,}\S.*[a-z] [a-z].*[.,:]$/.test(line)
        ? blank(line)
        : line,
    );
  const found: Passage[] = [];
  let open = false;
  for (const [index, line] of plain.split('\n').entries()) {
    const isItem = /^\s*(?:[-*+]|\d+\.) /.test(line);
    if (/^\s*$/.test(line) || /^\s*\|?[\s|:-]+\|?$/.test(line)) {
      open = false;
    } else if (/^#+ /.test(line)) {
      found.push({ line: index + 1, text: line });
      open = false;
    } else if (line.startsWith('|')) {
      for (const cell of line.replace(/`[^`]*`/g, code => code.replaceAll('|', '¦')).split(/(?<!\\)\|/))
        if (cell.trim() !== '') found.push({ line: index + 1, text: cell.trim() });
      open = false;
    } else if (open && !isItem) {
      const before = found.at(-1);
      if (before) before.text += `\n${line}`;
    } else {
      found.push({ line: index + 1, text: line.replace(/^\s*(?:[-*+]|\d+\.) /, '') });
      open = true;
    }
  }
  return found;
}
