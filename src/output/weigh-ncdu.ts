/** The list of `weigh` in the export format of ncdu (https://dev.yorhel.nl/ncdu/jsonfmt, major version 1, minor version 0). */
import type { Fate, File, Folder, Sink } from '../client/weight-tree.ts';
import { sizeOf } from '../client/weight-tree.ts';
import { jsonPath, nameOf } from '../os/byte-path.ts';
import { dropGarbage } from '../os/memory.ts';
import { plainJson, showName } from '../wire/text.ts';

/** Characters that are collected before they are printed. */
const PORTION = 65_536;

const EXCLUDED: Record<Exclude<Fate, 'taken'>, string> = {
  excluded: 'pattern',
  tagged: 'pattern',
  never: 'pattern',
  oversized: 'pattern',
  mount: 'otherfs',
};

/** Prints each entry as it comes. An entry that is left out is named without its size, as ncdu does with excludes of its own. */
export class NcduSink implements Sink {
  readonly #print: (text: string) => boolean;
  #text: string;
  /** The outermost folder that is left out, while the entries below it come. */
  #hidden: Folder | undefined;

  /** @param program its name and version, for ncdu's header; @param timeS of the list, seconds since 1970 */
  constructor(print: (text: string) => boolean, program: { name: string; version: string }, timeS: number) {
    this.#print = print;
    this.#text = `[1,0,${plainJson({ progname: program.name, progver: program.version, timestamp: timeS })}`;
  }

  enter(folder: Folder, above: Folder | undefined): void {
    if (this.#hidden) return;
    const name = above === undefined ? showPathName(folder.path) : showPathName(nameOf(folder.path));
    if (folder.fate === 'taken') this.#write(`,\n[${plainJson({ name })}`);
    else {
      this.#hidden = folder;
      this.#write(`,\n${plainJson({ name, excluded: EXCLUDED[folder.fate] })}`);
    }
  }

  file(file: File): void {
    if (this.#hidden) return;
    const name = showPathName(nameOf(file.path));
    const size = sizeOf(file);
    const entry =
      file.fate === 'taken'
        ? { name, asize: size, dsize: size, ...(file.type === 'file' ? {} : { notreg: true }) }
        : { name, excluded: EXCLUDED[file.fate] };
    this.#write(`,\n${plainJson(entry)}`);
  }

  leave(folder: Folder, above: Folder | undefined): void {
    if (this.#hidden === folder) this.#hidden = undefined;
    else if (this.#hidden === undefined) this.#write(']');
    if (above === undefined) this.#flush(']\n');
  }

  #write(text: string): void {
    this.#text += text;
    if (this.#text.length >= PORTION) this.#flush('');
  }

  #flush(end: string): void {
    this.#print(this.#text + end);
    this.#text = '';
    dropGarbage();
  }
}

/** The name as it is if it is UTF-8; ncdu refuses others. */
function showPathName(bytes: string): string {
  const name = jsonPath(bytes);
  return typeof name === 'string' ? name : showName(name);
}
