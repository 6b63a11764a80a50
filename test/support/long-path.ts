/** Paths that are longer than the kernel takes at once: made and read from folder to folder, by their own way and not by the program's. */
import { execFileSync } from 'node:child_process';

/** A name that is nearly as long as a file system takes one. */
export const NAME = `n ${'n'.repeat(247)}`;

/** Makes `depth` folders with long names in each other below `top`, and files in the last one. @returns what lies between */
export function makeDeep(top: string, depth: number, files: Record<string, string>): string {
  return makeFolders(top, Array<string>(depth).fill(NAME), files);
}

/** As `makeDeep`, with these names for the folders. @param owner whose all of it is */
export function makeFolders(
  top: string,
  names: string[],
  files: Record<string, string>,
  owner?: number,
): string {
  const script = `
import json, os, sys
names, files = json.loads(sys.argv[2]), json.loads(sys.argv[3])
os.chdir(sys.argv[1])
for name in names:
    if not os.path.isdir(name): os.mkdir(name)
    if len(sys.argv) > 4: os.chown(name, int(sys.argv[4]), int(sys.argv[4]))
    os.chdir(name)
for file, content in files.items():
    open(file, 'w').write(content)
    if len(sys.argv) > 4: os.chown(file, int(sys.argv[4]), int(sys.argv[4]))
`;
  const more = owner === undefined ? [] : [String(owner)];
  const words = [top, JSON.stringify(names), JSON.stringify(files), ...more];
  execFileSync('/usr/bin/python3', ['-c', script, ...words]);
  return names.map(name => `${name}/`).join('');
}

/** What the files below a folder hold, by their names alone: those of a deep folder have names of their own. */
export function contentsBelow(top: string): Record<string, string> {
  const script = `
import json, os, sys
found = {}
def walk(folder):
    for name in os.listdir(folder):
        try: inside = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=folder)
        except OSError: continue
        if os.path.stat.S_ISDIR(os.fstat(inside).st_mode): walk(inside)
        else: found[name] = os.read(inside, 100).decode()
        os.close(inside)
walk(os.open(sys.argv[1], os.O_RDONLY))
print(json.dumps(found))
`;
  const printed = execFileSync('/usr/bin/python3', ['-c', script, top], { encoding: 'utf8' });
  return JSON.parse(printed) as Record<string, string>;
}
