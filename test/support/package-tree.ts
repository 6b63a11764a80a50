/** The files of a package for tests, before an archive is made of them. */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

export interface TestPackage {
  name: string;
  /** Contents by path from `/` on. `-> TARGET`: a symbolic link. `= PATH`: a hard link. */
  files: Record<string, string>;
  /** Modes of files and folders; 0644 and 0755 unless given. */
  modes?: Record<string, number>;
  conffiles?: string[];
}

/** Writes the files of a package. @returns the paths of its plain files */
export function writePackageTree(
  tree: string,
  files: TestPackage['files'],
  modes: TestPackage['modes'] = {},
): string[] {
  const plain: string[] = [];
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(tree, path)), { recursive: true, mode: 0o755 });
    const target = /^-> (.*)$/.exec(content)?.[1];
    const link = /^= (.*)$/.exec(content)?.[1];
    if (target !== undefined) symlinkSync(target, join(tree, path));
    else if (link !== undefined) execFileSync('ln', [join(tree, link), join(tree, path)]);
    else writeFileSync(join(tree, path), content, { mode: 0o644 });
    if (target === undefined) plain.push(path);
  }
  for (const [path, mode] of Object.entries(modes)) chmodSync(join(tree, path), mode);
  return plain;
}

/** Gives the files times before the installation, as an archive has them. */
export function ageTree(tree: string): void {
  execFileSync('find', [tree, '-exec', 'touch', '-h', '-d', '2026-01-02T03:04:05Z', '{}', '+']);
}
