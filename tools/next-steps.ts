// Lists every next step that the program can print: `node tools/next-steps.ts`. It reads them from the source: the `next` of a Fault
// or a finding, and the text after `next: ` in other strings. test/next-steps.test.ts compares the list with docs/next-steps.md.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Node, SourceFile } from 'typescript/unstable/ast';
import {
  isArrowFunction,
  isBinaryExpression,
  isCallExpression,
  isConditionalExpression,
  isFunctionDeclaration,
  isIdentifier,
  isParenthesizedExpression,
  isPropertyAccessExpression,
  isPropertyAssignment,
  isReturnStatement,
  isVariableDeclaration,
} from 'typescript/unstable/ast';
import { parseFiles } from './parse.ts';
import { textOf } from './texts.ts';

/** A next step, with `…` for each part that is known only at run time. */
export interface NextStep {
  file: string;
  text: string;
}

/** Finds those of TypeScript files. @param files text by path */
export async function nextSteps(files: ReadonlyMap<string, string>): Promise<NextStep[]> {
  const found: NextStep[] = [];
  for (const [file, source] of await parseFiles(files)) {
    const texts = new Set(new Finder(source).find());
    for (const text of [...texts].sort()) found.push({ file, text });
  }
  return found;
}

/** A word of a shell script in quotes; in double ones a command can have quotes of its own. */
const SHELL_WORD = `("(?:[^"\\\\$]|\\\\.|\\$\\([^)]*\\)|\\$)*"|'[^']*')`;

/** The steps of a shell script: the second word of `fail`, or the values of the variable there, and the text after `next` in echo. */
export function shellSteps(file: string, text: string): NextStep[] {
  const fails = new RegExp(`\\bfail ${SHELL_WORD}\\s*\\\\?\\s*${SHELL_WORD}`, 'g');
  const echoes = /echo "(next[^"]*)"/g;
  const valuesOf = (name: string): string[] =>
    [...text.matchAll(new RegExp(`\\b${name}=${SHELL_WORD}`, 'g'))].map(each => each[1] ?? '');
  const all = [
    ...[...text.matchAll(fails)].map(each => each[2] ?? ''),
    ...[...text.matchAll(echoes)].map(each => each[1] ?? ''),
  ].flatMap(each => {
    const variable = /^"?(?:next: )?\$(\w+)"?$/.exec(each)?.[1];
    return variable === undefined ? [each] : valuesOf(variable);
  });
  const plain = all.map(each =>
    each
      .replace(/^["']|["']$/g, '')
      .replaceAll('\\"', '"')
      .replace(/\$\([^)]*\)|\$\{[^}]*\}|\$\w+/g, '…'),
  );
  return [...new Set(plain)]
    .filter(isStep)
    .sort()
    .map(each => ({ file, text: each }));
}

/** Not a code, and not only what another text has. */
function isStep(text: string): boolean {
  return text.includes(' ') && /[a-z]{2}/.test(text.replace(/^next: /, '').replaceAll('…', ''));
}

/** Calls that make a finding from its text and the next step. */
const FINDINGS = new Set(['warning', 'critical', 'unknown', 'fault']);
/** Functions of single files that make a Fault, and which of their arguments is the step. */
const PLACES: Record<string, number> = { fault: 1, refuse: 1, usage: 2 };
/** Names of values that are steps, here or where they are imported. */
const CONSTANTS = /next$|_AGAIN|_HINT|WITHOUT|^jailStep$/i;
/** Functions that other files call for a step. */
const MAKERS =
  /^(?:(?:move|give|keygen|receiver)Text|(?:fix|inspect)Command|(?:install|inherit|otherPrefix)Step)$/;
const DEPTH = 4;

/** One file. */
class Finder {
  readonly #source: SourceFile;
  /** The values of this file's constants, and the results of its functions. */
  readonly #values = new Map<string, Node[]>();

  constructor(source: SourceFile) {
    this.#source = source;
    const visit = (node: Node): void => {
      if (isVariableDeclaration(node) && isIdentifier(node.name) && node.initializer)
        this.#add(node.name.text, node.initializer);
      if (isFunctionDeclaration(node) && node.name)
        for (const each of returnsOf(node)) this.#add(node.name.text, each);
      node.forEachChild(visit);
    };
    visit(source);
  }

  #add(name: string, value: Node): void {
    this.#values.set(name, [...(this.#values.get(name) ?? []), value]);
  }

  find(): string[] {
    const texts: string[] = [];
    const visit = (node: Node): void => {
      const step = stepOf(node);
      if (step) texts.push(...this.#read(step, DEPTH));
      else if (isVariableDeclaration(node) && isIdentifier(node.name) && CONSTANTS.test(node.name.text))
        texts.push(...(node.initializer ? this.#read(node.initializer, DEPTH) : []));
      if (isFunctionDeclaration(node) && MAKERS.test(node.name?.text ?? ''))
        for (const each of returnsOf(node)) texts.push(...this.#read(each, DEPTH));
      const text = textOf(node);
      const behind = text === undefined ? undefined : /(?:^|\n)next: (.+)/.exec(text)?.[1];
      if (behind !== undefined) texts.push(behind);
      node.forEachChild(visit);
    };
    visit(this.#source);
    return texts.map(each => each.trim()).filter(isStep);
  }

  /** All that an expression can be; nothing where it comes from elsewhere. */
  #read(node: Node, depth: number): string[] {
    const text = textOf(node);
    if (text !== undefined) return [text];
    if (isParenthesizedExpression(node)) return this.#read(node.expression, depth);
    if (isConditionalExpression(node))
      return [...this.#read(node.whenTrue, depth), ...this.#read(node.whenFalse, depth)];
    if (isBinaryExpression(node)) return [...this.#read(node.left, depth), ...this.#read(node.right, depth)];
    if (isArrowFunction(node)) return this.#read(node.body, depth);
    if (isCallExpression(node) && isPropertyAccessExpression(node.expression))
      return [node.expression.expression, ...node.arguments].flatMap(each => this.#read(each, depth));
    const name = isIdentifier(node)
      ? node.text
      : isCallExpression(node) && isIdentifier(node.expression)
        ? node.expression.text
        : undefined;
    if (name === undefined || depth === 0) return [];
    return (this.#values.get(name) ?? []).flatMap(each => this.#read(each, depth - 1));
  }
}

/** The expression of the step in `{ next: … }` or `TOPIC.warning(found, …)`. */
function stepOf(node: Node): Node | undefined {
  if (isPropertyAssignment(node) && isIdentifier(node.name) && node.name.text === 'next')
    return node.initializer;
  if (!isCallExpression(node)) return undefined;
  if (isIdentifier(node.expression)) {
    const last = PLACES[node.expression.text];
    return last === undefined ? undefined : node.arguments[last];
  }
  if (!isPropertyAccessExpression(node.expression)) return undefined;
  return FINDINGS.has(node.expression.name.text) ? node.arguments[1] : undefined;
}

function returnsOf(node: Node): Node[] {
  const found: Node[] = [];
  const visit = (each: Node): void => {
    if (isReturnStatement(each) && each.expression) found.push(each.expression);
    if (!isFunctionDeclaration(each) || each === node) each.forEachChild(visit);
  };
  visit(node);
  return found;
}

/** All next steps of this checkout. */
export async function allNextSteps(top: string): Promise<NextStep[]> {
  const read = (folder: string, end: RegExp): string[] =>
    readdirSync(join(top, folder), { recursive: true, encoding: 'utf8' })
      .filter(name => end.test(name))
      .map(name => `${folder}/${name}`)
      .sort();
  const text = (file: string): string => readFileSync(join(top, file), 'utf8');
  const steps = await nextSteps(new Map(read('src', /\.ts$/).map(file => [file, text(file)])));
  return [...steps, ...read('tools', /\.sh$/).flatMap(file => shellSteps(file, text(file)))];
}

if (import.meta.main)
  for (const { file, text } of await allNextSteps(join(import.meta.dirname, '..')))
    console.log(`${file}\t${text}`);
