// Checks that what src/ exports is imported by another file of the program: `node tools/exports.ts` prints each export that exists
// only for tests, or for nothing, and exits 1. Test such a function through the one that the program uses. A function that is worth
// a test of its own is a concept of its own: move it into a file from which the other imports it. Types do not count.

import { globSync, readFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import type { Node, SourceFile } from 'typescript/unstable/ast';
import {
  isIdentifier,
  isImportDeclaration,
  isNamedImports,
  isNamespaceImport,
  isStringLiteral,
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
  return source.statements.flatMap(statement => {
    if (!isImportDeclaration(statement) || !isStringLiteral(statement.moduleSpecifier)) return [];
    const from = posix.join(posix.dirname(file), statement.moduleSpecifier.text);
    const bindings = statement.importClause?.namedBindings;
    if (bindings && isNamespaceImport(bindings)) return [`${from} *`];
    if (!bindings || !isNamedImports(bindings)) return [];
    return bindings.elements.map(each => `${from} ${(each.propertyName ?? each.name).getText(source)}`);
  });
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
