// Counts the tests' quotes of messages: `node tools/quotes.ts` exits 1 where a test file has more of them than tools/quotes.json
// allows it. A quote is a string or a regular expression of a test with four words in a row that are in docs/messages.txt too. Tests
// look for codes and facts, or name a message (test/support/wording.ts), so that a change of its wording does not change them.
//
//   --list [FILE…]  prints all quotes; FILE: a path, or the beginning of one
//   --update        writes the numbers that there are. Read the difference: a number should only go down

import { globSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Node, SourceFile } from 'typescript/unstable/ast';
import { isCallExpression, isImportDeclaration, isRegularExpressionLiteral } from 'typescript/unstable/ast';
import { MESSAGES } from './messages.ts';
import { parseFiles } from './parse.ts';
import { lineOf, type Passage, textOf } from './texts.ts';

/** The numbers that are allowed, by file. */
const ALLOWED = 'tools/quotes.json';
/** The table of the parts of messages, which is made of quotes. */
const TABLE = 'test/support/messages.ts';
/** How many words of a message make a quote. */
const WORDS = 4;

/** The messages in docs/messages.txt, each with its next step. `…` stands for a part that is known only at run time. */
export function readMessages(text: string): string[] {
  const entries: string[] = [];
  for (const line of text.split('\n').slice(4)) {
    if (line.startsWith('    ') && entries.length > 0) entries.push(`${entries.pop()}\n${line.slice(4)}`);
    else if (line.startsWith('  ')) entries.push(line.slice(2));
  }
  return entries.map(each => each.replace(/…+/g, '…'));
}

/** All sequences of that many words, without the punctuation around them. */
function sequences(text: string): string[] {
  return text.split(/…|\n| \| /).flatMap(part => {
    const words = part.split(/\s+/).filter(Boolean);
    return words
      .map((_, at) => words.slice(at, at + WORDS))
      .filter(each => each.length === WORDS)
      .map(each => each.join(' ').replace(/^[^\w-]+|[^\w]+$/g, ''));
  });
}

/** The text that a regular expression matches, with `…` in place of all that is not plain text. */
function textOfRegex(source: string): string {
  return source
    .slice(1, source.lastIndexOf('/'))
    .replace(/\\n|\\(\W)|\\.|[.*+?^$|()[\]{}]+/g, (match, plain?: string) =>
      match === '\\n' ? '\n' : (plain ?? '…'),
    );
}

/** The quotes of one file. The names of tests do not count. */
function quotesOf(source: SourceFile, known: ReadonlySet<string>): Passage[] {
  const found: Passage[] = [];
  const visit = (node: Node): void => {
    if (isImportDeclaration(node)) return;
    const text = isRegularExpressionLiteral(node) ? textOfRegex(node.getText(source)) : textOf(node);
    if (text !== undefined && sequences(text).some(each => known.has(each)))
      found.push({ line: lineOf(source, node), text });
    const isTest =
      isCallExpression(node) &&
      /^(?:it|describe)(?:Long|Short|Also)?\b/.test(node.expression.getText(source));
    const title = isTest ? node.arguments[0] : undefined;
    node.forEachChild(child => {
      if (child !== title) visit(child);
    });
  };
  visit(source);
  return found;
}

/**
 * Finds the quotes in test files.
 * @param files text by path, as seen from the top of the repository
 * @param messages the content of docs/messages.txt
 * @returns those of each file that has any
 */
export async function findQuotes(
  files: ReadonlyMap<string, string>,
  messages: string,
): Promise<Map<string, Passage[]>> {
  const known = new Set(readMessages(messages).flatMap(sequences));
  const sources = await parseFiles(files);
  const found = sources.map(([file, source]) => [file, quotesOf(source, known)] as const);
  return new Map(found.filter(([file, quotes]) => quotes.length > 0 && file !== TABLE));
}

/** Compares the quotes of this checkout with the numbers. @returns the quotes, and a line for each file with too many */
export async function compare(top: string): Promise<{ quotes: Map<string, Passage[]>; tooMany: string[] }> {
  const names = globSync('test/**/*.ts', { cwd: top });
  const files = new Map(names.map(name => [name, readFileSync(join(top, name), 'utf8')]));
  const quotes = await findQuotes(files, readFileSync(join(top, MESSAGES), 'utf8'));
  const allowed = JSON.parse(readFileSync(join(top, ALLOWED), 'utf8')) as Record<string, number>;
  const tooMany = [...quotes]
    .filter(([file, { length }]) => length > (allowed[file] ?? 0))
    .map(
      ([file, { length }]) => `${file}: ${length} quotes of messages, and ${allowed[file] ?? 0} are allowed`,
    );
  return { quotes, tooMany };
}

if (import.meta.main) {
  const top = join(import.meta.dirname, '..');
  const { quotes, tooMany } = await compare(top);
  const words = process.argv.slice(2);
  const total = [...quotes.values()].flat().length;
  if (words.includes('--list')) {
    const asked = words.filter(each => !each.startsWith('-'));
    for (const [file, passages] of quotes)
      if (asked.length === 0 || asked.some(each => file.startsWith(each)))
        for (const { line, text } of passages) console.log(`${file}:${line}: ${JSON.stringify(text)}`);
  } else if (words.includes('--update')) {
    const numbers = Object.fromEntries([...quotes].map(([file, { length }]) => [file, length]));
    writeFileSync(join(top, ALLOWED), `${JSON.stringify(numbers, null, 2)}\n`);
  } else {
    for (const line of tooMany) console.error(line);
    process.exitCode = tooMany.length > 0 ? 1 : 0;
  }
  console.error(`quotes: ${total} in ${quotes.size} files`);
}
