// TypeScript's own parser (pinned, since the interface is still marked unstable), for tools that read the sources.

import type { SourceFile } from 'typescript/unstable/ast';
import { API } from 'typescript/unstable/async';
import { createVirtualFileSystem } from 'typescript/unstable/fs';

/** Parses without looking at any file, library or type: the parser sees a folder that does not exist. */
export async function parseFiles(files: ReadonlyMap<string, string>): Promise<[string, SourceFile][]> {
  const names = [...files.keys()].sort();
  const config = '/tsconfig.json';
  const options = { noLib: true, noResolve: true, types: [], allowImportingTsExtensions: true, noEmit: true };
  const fs = createVirtualFileSystem({
    [config]: JSON.stringify({ files: names, compilerOptions: options }),
    ...Object.fromEntries(names.map(name => [`/${name}`, files.get(name) ?? ''])),
  });
  const api = new API({ cwd: '/', fs });
  try {
    const project = (await api.updateSnapshot({ openProjects: [config] })).getProject(config);
    const sources: [string, SourceFile][] = [];
    for (const name of names) {
      const source = await project?.program.getSourceFile(`/${name}`);
      // Do not skip a file silently: its text would be unchecked.
      if (source === undefined) throw new Error(`Cannot check "${name}": the parser did not read it`);
      sources.push([name, source]);
    }
    return sources;
  } finally {
    await api.close();
  }
}
