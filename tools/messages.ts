// Lists every text that the program can print, in one place, so that their wording can be reviewed: `node tools/messages.ts` prints
// the list, and --write replaces docs/messages.txt with it. They are read out of the source. test/messages.test.ts compares the two.

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Node, SourceFile } from 'typescript/unstable/ast';
import {
  isArrowFunction,
  isBinaryExpression,
  isBlock,
  isCallExpression,
  isConditionalExpression,
  isExportDeclaration,
  isFunctionDeclaration,
  isIdentifier,
  isImportDeclaration,
  isNewExpression,
  isObjectLiteralExpression,
  isParenthesizedExpression,
  isPropertyAccessExpression,
  isPropertyAssignment,
  isReturnStatement,
  isShorthandPropertyAssignment,
  isSpreadAssignment,
  isVariableDeclaration,
} from 'typescript/unstable/ast';
import { parseFiles } from './parse.ts';
import { isReadable, passagesOfC, textOf } from './texts.ts';

/** Where the list is. */
export const MESSAGES = 'docs/messages.txt';

const HEAD = `Every text of the program that a person can read, by source file. node tools/messages.ts --write makes this file out of
the source. "…" stands for a part that is known only at run time, and " | " stands between texts of which one is printed.
"Cannot" begins an error; "next:" is the step that it ends with.
`;

/** How far a name is followed to its value. */
const DEPTH = 3;

/** A function that makes an error out of some of its arguments. */
interface Maker {
  parameters: string[];
  error: Node;
}

/** Functions of other files that do: `Cannot TRIED: what the system said`. */
const IMPORTED_MAKERS: Record<string, { tried: number; more: number }> = {
  fileFault: { tried: 1, more: 2 },
  databaseFault: { tried: 1, more: 2 },
};
/** Methods that make a finding of `doctor` from its text and the next step. */
const FINDINGS = new Set(['ok', 'warning', 'critical', 'unknown']);

type Bindings = ReadonlyMap<string, Node>;
const NO_BINDINGS: Bindings = new Map();

/** The messages of one TypeScript file, in their order: errors as they are printed, then the other texts between them. */
class Reader {
  readonly #source: SourceFile;
  /** The values that a name can have, each with the part of the file in which it is known by that name. */
  readonly #values = new Map<string, { value: Node; scope: Node }[]>();
  readonly #makers = new Map<string, Maker>();
  /** Nodes that stand in an error already. */
  readonly #used = new Set<Node>();

  constructor(source: SourceFile) {
    this.#source = source;
    const add = (name: string, value: Node, scope: Node): void => {
      this.#values.set(name, [...(this.#values.get(name) ?? []), { value, scope }]);
    };
    const visit = (node: Node, scope: Node, inside?: string): void => {
      let name = inside;
      if (isVariableDeclaration(node) && isIdentifier(node.name) && node.initializer)
        add(node.name.text, node.initializer, scope);
      if (isFunctionDeclaration(node) && node.name) name = node.name.text;
      if (isReturnStatement(node) && node.expression && name !== undefined)
        add(name, node.expression, source);
      const maker = makerOf(node);
      if (maker) this.#makers.set(maker.name, maker);
      const inner = isBlock(node) || isArrowFunction(node) ? node : scope;
      node.forEachChild(child => visit(child, inner, name));
    };
    visit(source, source);
  }

  messages(): string[] {
    const found: { at: number; text: string }[] = [];
    const composed = (node: Node): void => {
      const text = this.#composed(node);
      if (text !== undefined && isSaying(text)) found.push({ at: node.pos, text });
      node.forEachChild(composed);
    };
    composed(this.#source);
    const others = (node: Node): void => {
      if (isImportDeclaration(node) || isExportDeclaration(node)) return;
      const text = textOf(node);
      if (text !== undefined && !this.#used.has(node) && isReadable(text)) found.push({ at: node.pos, text });
      node.forEachChild(others);
    };
    others(this.#source);
    return found.sort((a, b) => a.at - b.at).map(each => each.text);
  }

  /** The text of an error or a finding. @returns undefined for any other node */
  #composed(node: Node): string | undefined {
    if (isObjectLiteralExpression(node)) return this.#error(node, NO_BINDINGS);
    if (isNewExpression(node) && isIdentifier(node.expression) && node.expression.text === 'Topic')
      return this.#pair(node.arguments?.[0], node.arguments?.[1], ': ');
    if (!isCallExpression(node)) return undefined;
    if (isPropertyAccessExpression(node.expression)) {
      const state = node.expression.name.text;
      const [found, next] = node.arguments;
      if (!FINDINGS.has(state) || !found) return undefined;
      return `${state}: ${this.#pair(found, next, '\nnext: ')}`;
    }
    if (!isIdentifier(node.expression)) return undefined;
    const { text } = node.expression;
    const maker = this.#makers.get(text);
    if (maker) {
      const bindings = maker.parameters.flatMap((name, index): [string, Node][] => {
        const value = node.arguments[index];
        return value ? [[name, value]] : [];
      });
      return this.#error(maker.error, new Map(bindings));
    }
    const imported = IMPORTED_MAKERS[text];
    const tried = imported && node.arguments[imported.tried];
    if (!imported || !tried) return undefined;
    const more = node.arguments[imported.more];
    const next = more && propertiesOf(more).get('next');
    return `Cannot ${this.#pair(tried, undefined, '')}: …${next ? `\nnext: ${this.#pair(next, undefined, '')}` : ''}`;
  }

  #pair(first: Node | undefined, second: Node | undefined, between: string): string {
    const [one = '…', two] = [first, second].map(each => each && this.#shown(each, NO_BINDINGS));
    return two === undefined ? one : `${one}${between}${two}`;
  }

  #shown(part: Node, bindings: Bindings): string {
    return [...new Set(this.#read(part, DEPTH, bindings))].join(' | ') || '…';
  }

  /** The text of `{ tried, found, next }`. @returns undefined for any other object */
  #error(object: Node, bindings: Bindings): string | undefined {
    const parts = propertiesOf(object);
    const [tried, found, next] = ['tried', 'found', 'next'].map(name => parts.get(name));
    if (!tried || !found) return undefined;
    const error = `Cannot ${this.#shown(tried, bindings)}: ${this.#shown(found, bindings)}`;
    const step = next && this.#shown(next, bindings);
    return step === undefined || step === '…' ? error : `${error}\nnext: ${step}`;
  }

  /** All texts that an expression can be. */
  #read(node: Node, depth: number, bindings: Bindings): string[] {
    const text = textOf(node);
    if (text !== undefined) {
      this.#used.add(node);
      return [text];
    }
    if (isParenthesizedExpression(node)) return this.#read(node.expression, depth, bindings);
    if (isConditionalExpression(node))
      return [node.whenTrue, node.whenFalse].flatMap(each => this.#read(each, depth, bindings));
    if (isBinaryExpression(node))
      return [node.left, node.right].flatMap(each => this.#read(each, depth, bindings));
    const name = isIdentifier(node)
      ? node.text
      : isCallExpression(node) && isIdentifier(node.expression)
        ? node.expression.text
        : undefined;
    const bound = name === undefined ? undefined : bindings.get(name);
    if (bound) return this.#read(bound, depth, NO_BINDINGS);
    const all = name === undefined || depth === 0 ? [] : (this.#values.get(name) ?? []);
    const values = all.filter(({ scope }) => scope.pos <= node.pos && node.end <= scope.end);
    return values.length === 0
      ? ['…']
      : values.flatMap(({ value }) => this.#read(value, depth - 1, bindings));
  }
}

/** Whether a composed text has a part that is known before the program runs. */
function isSaying(text: string): boolean {
  return /[a-z]{2}/.test(text.replace(/^Cannot |^next: |^(?:ok|warning|critical|unknown): /gm, ''));
}

/** The properties of an object, by name, and `next` where it is in `...(x ? { next: … } : {})`. */
function propertiesOf(object: Node): Map<string, Node> {
  const parts = new Map<string, Node>();
  object.forEachChild(each => {
    if (isPropertyAssignment(each) && isIdentifier(each.name)) parts.set(each.name.text, each.initializer);
    else if (isShorthandPropertyAssignment(each)) parts.set(each.name.getText(), each.name);
    else if (isSpreadAssignment(each)) {
      const next = spreadNext(each);
      if (next) parts.set('next', next);
    }
  });
  return parts;
}

function spreadNext(spread: Node): Node | undefined {
  let found: Node | undefined;
  const visit = (node: Node): void => {
    if (isPropertyAssignment(node) && isIdentifier(node.name) && node.name.text === 'next')
      found ??= node.initializer;
    else if (isShorthandPropertyAssignment(node) && node.name.getText() === 'next') found ??= node.name;
    node.forEachChild(visit);
  };
  visit(spread);
  return found;
}

/** A function, or a constant that is one, in which an error is made out of the function's own parameters. */
function makerOf(node: Node): (Maker & { name: string }) | undefined {
  const of =
    isVariableDeclaration(node) && node.initializer && isArrowFunction(node.initializer)
      ? { name: node.name, made: node.initializer }
      : isFunctionDeclaration(node) && node.name
        ? { name: node.name, made: node }
        : undefined;
  if (!of || !isIdentifier(of.name)) return undefined;
  const parameters = of.made.parameters.map(each => (isIdentifier(each.name) ? each.name.text : ''));
  let error: Node | undefined;
  const visit = (each: Node): void => {
    if (isObjectLiteralExpression(each)) {
      const parts = propertiesOf(each);
      const own = ['tried', 'found'].map(name => parts.get(name));
      if (
        own.every(part => part) &&
        own.some(part => part && isIdentifier(part) && parameters.includes(part.text))
      )
        error ??= each;
    }
    each.forEachChild(visit);
  };
  visit(of.made);
  return error && { name: of.name.text, parameters, error };
}

/** The texts of shell scripts that are printed: the words in quotes behind `fail`, `echo` and `printf`. */
function shellMessages(text: string): string[] {
  return text
    .split('\n')
    .filter(line => /(?:^|\s|\|\| |&& |\{ )(?:fail|echo|say|printf) /.test(line) && !/^\s*#/.test(line))
    .flatMap(line => [...line.matchAll(/"((?:[^"\\]|\\.)*)"|'([^']*)'/g)])
    .map(([, double, single]) => (double ?? single ?? '').replaceAll('\\"', '"'))
    .map(each => each.replace(/\$\([^)]*\)|\$\{[^}]*\}|\$\w+/g, '…').replaceAll('\\n', ''))
    .filter(isReadable);
}

/** The list for files. @param files content by path */
export async function messagesOf(files: ReadonlyMap<string, string>): Promise<Map<string, string[]>> {
  const all = new Map<string, string[]>();
  const sources = new Map([...files].filter(([file]) => file.endsWith('.ts')));
  for (const [file, source] of await parseFiles(sources)) all.set(file, new Reader(source).messages());
  for (const [file, text] of files) {
    if (file.endsWith('.c'))
      all.set(
        file,
        passagesOfC(text).strings.map(each => each.text),
      );
    if (file.endsWith('.sh')) all.set(file, shellMessages(text));
  }
  return new Map([...all].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** The content of docs/messages.txt for this checkout. */
export async function messagesText(top: string): Promise<string> {
  const read = (folder: string, end: RegExp): string[] =>
    readdirSync(join(top, folder), { recursive: true, encoding: 'utf8' })
      .filter(name => end.test(name))
      .map(name => `${folder}/${name}`);
  const names = [...read('src', /\.(?:ts|c)$/), ...read('tools', /\.sh$/)];
  const files = new Map(names.map(name => [name, readFileSync(join(top, name), 'utf8')]));
  const blocks: string[] = [HEAD];
  for (const [file, messages] of await messagesOf(files)) {
    if (messages.length === 0) continue;
    const lines = [...new Set(messages)].map(each => `  ${each.replaceAll('\n', '\n    ').trimEnd()}\n`);
    blocks.push(`${file}\n${lines.join('')}`);
  }
  return blocks.join('\n');
}

if (import.meta.main) {
  const top = join(import.meta.dirname, '..');
  const text = await messagesText(top);
  if (process.argv.includes('--write')) writeFileSync(join(top, MESSAGES), text);
  else process.stdout.write(text);
}
