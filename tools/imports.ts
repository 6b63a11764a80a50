// Checks which file of src/ imports which: `node tools/imports.ts` prints file:line for each breach and exits 1. LAYERS has the rules.
// Client and host share no code that runs, text from outside is parsed by pure code, and only os/ touches the machine.
// TypeScript's own parser reads the files, so that it tells a comment, a string, a type-only import and an import() inside a function
// apart. Its version is pinned, since the interface is still marked unstable.

import { readdirSync, readFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { join, posix } from 'node:path';
import type { Node, SourceFile } from 'typescript/unstable/ast';
import {
  isCallExpression,
  isElementAccessExpression,
  isExportDeclaration,
  isIdentifier,
  isImportDeclaration,
  isImportTypeNode,
  isLiteralTypeNode,
  isNamedImports,
  isNoSubstitutionTemplateLiteral,
  isObjectBindingPattern,
  isPropertyAccessExpression,
  isStringLiteral,
  isVariableDeclaration,
  SyntaxKind,
} from 'typescript/unstable/ast';
import { parseFiles } from './parse.ts';

/** One import that is not allowed; `line` counts from 1. */
export type Breach = { file: string; line: number; rule: string };

/** One way in which a file reaches for something outside itself. */
type Use =
  | { kind: 'import'; line: number; specifier: string; names: string[] | 'all' }
  | { kind: 'unreadable import'; line: number }
  | { kind: 'exit'; line: number; noted: boolean };

/** The imports from node that wire/ may use: pure functions. 'all' for a module that is pure as a whole. */
const PURE_BUILTINS: Record<string, readonly string[] | 'all'> = {
  'node:buffer': 'all',
  'node:net': ['isIP', 'isIPv4', 'isIPv6', 'BlockList'],
  'node:crypto': ['createHash', 'timingSafeEqual'],
};

/** Ways around an import statement: with them the other rules could not be checked. */
const LOADERS = ['node:module', 'node:vm', 'node:process'];

/**
 * Which other folders of src/ the files of a folder may import. Each may import fault.ts; main.ts may import all. os/ may import
 * wire/text.ts, which makes text safe to show.
 */
const LAYERS: Record<string, readonly string[]> = {
  commands: ['output', 'doctor', 'web', 'client', 'host', 'store', 'shared', 'wire', 'os'],
  output: ['client', 'host', 'store', 'shared', 'wire', 'os'],
  web: ['output', 'host', 'store', 'shared', 'wire', 'os'],
  doctor: ['client', 'host', 'store', 'shared', 'wire', 'os'],
  client: ['store', 'shared', 'wire', 'os'],
  host: ['store', 'shared', 'wire', 'os'],
  store: ['wire', 'os'],
  shared: ['wire', 'os'],
  os: [],
  wire: [],
};

/** Imports that break these rules and are still there. The list may only get shorter. */
const STILL_IMPORTED: Record<string, readonly string[]> = {};

/** @returns the folder below src/; '' for a file in src/ itself */
function folderOf(file: string): string {
  return /^src\/([^/]+)\//.exec(file)?.[1] ?? '';
}

/** The words that a comment on the line of an exit in os/, or on the line above it, must hold. */
const EXIT_NOTE = 'exit relayed:';

/**
 * Checks files against the rules; reads and prints nothing.
 * @param files text by path, as seen from the top of the repository ("src/wire/request.ts"); those outside src/
 *   are not judged
 * @returns the breaches in the order of files and lines; none where all is well
 */
export async function findBreaches(files: ReadonlyMap<string, string>): Promise<Breach[]> {
  const judged = new Map([...files].filter(([file]) => file.startsWith('src/')));
  return (await parseFiles(judged)).flatMap(([file, source]) =>
    findUses(source).flatMap(use => {
      const rule = judge(file, use);
      return rule === undefined ? [] : [{ file, line: use.line, rule }];
    }),
  );
}

/** Says which rule `use` breaks in `file`, or nothing. */
function judge(file: string, use: Use): string | undefined {
  const inside = (folder: string) => folderOf(file) === folder;
  if (use.kind === 'unreadable import') return 'an import names its file as a plain string';
  if (use.kind === 'exit') {
    if (file === 'src/main.ts' || (inside('os') && use.noted)) return undefined;
    return `only main.ts ends the process (in os/ where a comment says "${EXIT_NOTE} …")`;
  }

  if (isBuiltin(use.specifier)) {
    const name = use.specifier.startsWith('node:') ? use.specifier : `node:${use.specifier}`;
    if (LOADERS.includes(name)) return `do not import ${name}`;
    if (name === 'node:child_process' && file !== 'src/os/process.ts')
      return 'only os/process.ts imports node:child_process';
    if (name === 'node:sqlite' && file !== 'src/os/database.ts')
      return 'only os/database.ts imports node:sqlite';
    if (/^node:fs(\/|$)/.test(name) && file !== 'src/os/files.ts') return 'only os/files.ts imports node:fs';
    if (inside('wire') && !isPure(name, use.names)) {
      return `wire/ imports only pure functions of ${Object.keys(PURE_BUILTINS).join(', ')}`;
    }
    return undefined;
  }

  if (/^[./#]/.test(use.specifier)) {
    const target = posix.join(posix.dirname(file), use.specifier);
    if (!/^\.\.?\//.test(use.specifier) || !target.startsWith('src/'))
      return 'src/ does not import files outside src/';
    if (target === 'src/main.ts') return 'do not import main.ts';
    if (file === 'src/fault.ts') return 'fault.ts does not import other files of src/';
    const [from, to] = [folderOf(file), folderOf(target)];
    if (from === to || file === 'src/main.ts' || target === 'src/fault.ts') return undefined;
    if (from === 'os' && target === 'src/wire/text.ts') return undefined;
    if (STILL_IMPORTED[target]?.includes(file)) return undefined;
    if (!LAYERS[from]?.includes(to)) return `${from}/ does not import ${to}/`;
    return undefined;
  }

  if (inside('wire') || inside('os')) return `${inside('wire') ? 'wire' : 'os'}/ imports no package`;
  if (/^minimist(\/|$)/.test(use.specifier) && !inside('commands')) return 'only commands/ imports minimist';
  return undefined;
}

function isPure(builtin: string, names: string[] | 'all'): boolean {
  const pure = PURE_BUILTINS[builtin];
  return (
    pure === 'all' || (pure !== undefined && names !== 'all' && names.every(name => pure.includes(name)))
  );
}

/** Lists every import of any form, and every call that ends the process. */
function findUses(source: SourceFile): Use[] {
  const uses: Use[] = [];
  const lines = source.text.split('\n');

  const visit = (node: Node): void => {
    const line = source.getLineAndCharacterOfPosition(node.getStart(source)).line + 1;
    const add = (module: Node | undefined, names: string[] | 'all') => {
      const specifier = module && literal(module);
      uses.push(
        specifier === undefined
          ? { kind: 'unreadable import', line }
          : { kind: 'import', line, specifier, names },
      );
    };

    if (isImportDeclaration(node)) add(node.moduleSpecifier, importedNames(node.importClause));
    else if (isExportDeclaration(node) && node.moduleSpecifier) add(node.moduleSpecifier, 'all');
    else if (isImportTypeNode(node))
      add(isLiteralTypeNode(node.argument) ? node.argument.literal : undefined, 'all');
    else if (node.kind === SyntaxKind.ExternalModuleReference || isLoad(node)) add(firstChild(node), 'all');
    else if (isExit(node)) {
      const noted = lines.slice(Math.max(0, line - 2), line).some(text => text.includes(EXIT_NOTE));
      uses.push({ kind: 'exit', line, noted });
    }
    node.forEachChild(visit);
  };
  visit(source);
  return uses;
}

/** import(X), require(X) and process.getBuiltinModule(X). */
function isLoad(node: Node): boolean {
  if (!isCallExpression(node)) return false;
  const callee = node.expression;
  if (callee.kind === SyntaxKind.ImportKeyword) return true;
  if (isIdentifier(callee)) return callee.text === 'require';
  return isPropertyAccessExpression(callee) && callee.name.text === 'getBuiltinModule';
}

/** The module of a load: the first argument, or the only child of the reference in `import x = require('y')`. */
function firstChild(node: Node): Node | undefined {
  if (isCallExpression(node)) return node.arguments[0];
  let first: Node | undefined;
  node.forEachChild(child => {
    first ??= child;
  });
  return first;
}

/** process.exit, process['exit'], `const { exit } = process`, and the same for the harsher ways to end. */
function isExit(node: Node): boolean {
  const ends = (name: string | undefined) =>
    name !== undefined && ['exit', 'reallyExit', 'abort'].includes(name);
  const isProcess = (it: Node | undefined) =>
    it !== undefined &&
    ((isIdentifier(it) && it.text === 'process') ||
      (isPropertyAccessExpression(it) && it.name.text === 'process'));
  if (isPropertyAccessExpression(node)) return isProcess(node.expression) && ends(node.name.text);
  if (isElementAccessExpression(node))
    return isProcess(node.expression) && ends(literal(node.argumentExpression));
  if (!isVariableDeclaration(node) || !isProcess(node.initializer) || !isObjectBindingPattern(node.name))
    return false;
  return node.name.elements.some(element => {
    const name = element.propertyName ?? element.name;
    return name !== undefined && isIdentifier(name) && ends(name.text);
  });
}

function literal(node: Node): string | undefined {
  return isStringLiteral(node) || isNoSubstitutionTemplateLiteral(node) ? node.text : undefined;
}

/** The names that `import { a, b as c } from …` takes (a, b); 'all' for a default or a namespace import. */
function importedNames(clause: Parameters<typeof isNamedImports>[0] | undefined): string[] | 'all' {
  const bindings: Node[] = [];
  clause?.forEachChild(child => {
    bindings.push(child);
  });
  const [only] = bindings;
  if (only === undefined || bindings.length > 1 || !isNamedImports(only)) return 'all';
  return only.elements.map(element => (element.propertyName ?? element.name).text);
}

if (import.meta.main) {
  const top = join(import.meta.dirname, '..');
  const names = readdirSync(join(top, 'src'), { recursive: true, encoding: 'utf8' })
    .filter(name => /\.[cm]?[jt]sx?$/.test(name))
    .map(name => `src/${name}`);
  const breaches = await findBreaches(
    new Map(names.map(name => [name, readFileSync(join(top, name), 'utf8')])),
  );
  for (const { file, line, rule } of breaches) console.error(`${file}:${line}: ${rule}`);
  console.log(`imports: ${names.length} files, ${breaches.length} breaches`);
  if (breaches.length > 0 || names.length === 0) process.exit(1);
}
