// Checks that what src/ exports is imported by another file of the program: `node tools/exports.ts` prints each export that exists
// only for tests, or for nothing, and exits 1. Test such a function through the one that the program uses. A function that is worth
// a test of its own is a concept of its own: move it into a file from which the other imports it. Types do not count.

import { globSync, readFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import type { Node, SourceFile } from 'typescript/unstable/ast';
import {
  isAwaitExpression,
  isCallExpression,
  isExportDeclaration,
  isIdentifier,
  isImportDeclaration,
  isNamedExports,
  isNamedImports,
  isNamespaceImport,
  isObjectBindingPattern,
  isParenthesizedExpression,
  isPropertyAccessExpression,
  isStringLiteral,
  isVariableDeclaration,
  isVariableStatement,
  SyntaxKind,
} from 'typescript/unstable/ast';
import { parseFiles } from './parse.ts';

/**
 * Exports that only tests import: texts that commands print of results that a test cannot bring about, and the parser of a version
 * of which only one is installed. The list may only get shorter.
 */
const ONLY_TESTED = new Set([
  'src/client/fetch-leftovers.ts isLeftover',
  'src/client/fetch-target.ts isRescueMount',
  'src/client/fetch-target.ts isSystemPath',
  'src/commands/backup.ts outcomeJson',
  'src/commands/backup.ts summaryText',
  'src/commands/diff.ts differenceText',
  'src/commands/doctor.ts doctorText',
  'src/commands/enroll.ts enrollText',
  'src/commands/init.ts initText',
  'src/commands/restore.ts restoreText',
  'src/host/offer-keys.ts expiryStamp',
  'src/host/offer-keys.ts knowsUtc',
  'src/host/offer-keys.ts offerLine',
  'src/host/offered-files.ts serveRecords',
  'src/os/versions.ts parseOpensshVersion',
  'src/store/drill-record.ts decodeDrillRecord',
  'src/store/drill-record.ts encodeDrillRecord',
  'src/store/offer.ts decodeOffer',
  'src/wire/fetch-rsync.ts foldersAbove',
]);

/** @returns `FILE NAME` of each function, constant and class that a file exports */
function exportsOf(file: string, source: SourceFile): string[] {
  const names: string[] = [];
  for (const statement of source.statements) {
    const { modifiers, name } = statement as unknown as { modifiers?: readonly Node[]; name?: Node };
    const isType = [SyntaxKind.InterfaceDeclaration, SyntaxKind.TypeAliasDeclaration].includes(
      statement.kind,
    );
    if (isType || !modifiers?.some(each => each.kind === SyntaxKind.ExportKeyword)) continue;
    const declared = isVariableStatement(statement)
      ? statement.declarationList.declarations.map(each => each.name)
      : [name];
    // A pattern such as `const { a, b } = …` is one table, and counts as used.
    names.push(...declared.flatMap(each => (each && isIdentifier(each) ? [each.text] : [])));
  }
  return names.map(name => `${file} ${name}`);
}

/** @returns `FILE NAME` of each import; `FILE *` for all of a file */
function importsOf(file: string, source: SourceFile): string[] {
  const used: string[] = [];
  const add = (module: Node | undefined, ...names: string[]): void => {
    if (module && isStringLiteral(module))
      used.push(...names.map(name => `${posix.join(posix.dirname(file), module.text)} ${name}`));
  };
  const visit = (node: Node): void => {
    if (isImportDeclaration(node)) {
      const bindings = node.importClause?.namedBindings;
      if (bindings && isNamespaceImport(bindings)) add(node.moduleSpecifier, '*');
      if (bindings && isNamedImports(bindings))
        add(node.moduleSpecifier, ...bindings.elements.map(nameOf(source)));
    } else if (isExportDeclaration(node)) {
      const names = node.exportClause;
      if (names && isNamedExports(names)) add(node.moduleSpecifier, ...names.elements.map(nameOf(source)));
      else add(node.moduleSpecifier, '*');
    } else if (isPropertyAccessExpression(node) && isParenthesizedExpression(node.expression)) {
      add(awaitedImport(node.expression.expression), node.name.text);
    } else if (isVariableDeclaration(node) && isObjectBindingPattern(node.name)) {
      add(awaitedImport(node.initializer), ...node.name.elements.map(nameOf(source)));
    }
    node.forEachChild(visit);
  };
  visit(source);
  return used;
}

/** The name of an element in the file that it is taken from: `a` of `a as b` and of `a: b`. */
function nameOf(source: SourceFile): (element: { propertyName?: Node; name?: Node }) => string {
  return ({ propertyName, name }) => (propertyName ?? name)?.getText(source) ?? '';
}

/** X of `await import(X)` */
function awaitedImport(node: Node | undefined): Node | undefined {
  const call = node && isAwaitExpression(node) ? node.expression : undefined;
  const isImport = call && isCallExpression(call) && call.expression.kind === SyntaxKind.ImportKeyword;
  return isImport ? call.arguments[0] : undefined;
}

/**
 * Finds the exports of src/ that no other of the files imports.
 * @param files text by path, as seen from the top of the repository; those outside src/ only import
 * @returns `FILE NAME` of each, in the order of the files
 */
export async function findUnused(files: ReadonlyMap<string, string>): Promise<string[]> {
  const sources = await parseFiles(files);
  const imported = new Set(sources.flatMap(([file, source]) => importsOf(file, source)));
  return sources
    .filter(([file]) => file.startsWith('src/'))
    .flatMap(([file, source]) => (imported.has(`${file} *`) ? [] : exportsOf(file, source)))
    .filter(each => !imported.has(each));
}

/** Compares the exports that no file of the program or of its tools imports with the list. @returns a line for each difference */
export async function differences(top: string): Promise<string[]> {
  const names = globSync(['src/**/*.ts', 'tools/*.ts', 'build.ts'], { cwd: top });
  const found = await findUnused(new Map(names.map(name => [name, readFileSync(join(top, name), 'utf8')])));
  return [
    ...found
      .filter(each => !ONLY_TESTED.has(each))
      .map(each => `${each}: no other file of the program imports it`),
    ...[...ONLY_TESTED]
      .filter(each => !found.includes(each))
      .map(each => `${each}: remove it from the list in tools/exports.ts`),
  ];
}

if (import.meta.main) {
  const lines = await differences(join(import.meta.dirname, '..'));
  for (const line of lines) console.error(line);
  process.exitCode = lines.length > 0 ? 1 : 0;
}
