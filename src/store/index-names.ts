/**
 * The names in an index. A row holds one name in its folder, not a whole path. A client decides how deep its folders
 * are, so paths can be long; the index grows only with the names.
 */
import type { Database, Statement } from '../os/database.ts';

const SLASH = Buffer.from('/');
/** Paths of folders that are kept in memory. Queries for names in the same folder often follow each other. */
const FOLDERS = 200;

/** Finds names by id, and ids by name. */
export class Names {
  readonly #find: Statement;
  readonly #add: Statement;
  readonly #read: Statement;
  /** The folder of the last query. Queries come in the order of the paths. */
  #last: { folder: Buffer; id: number } = { folder: Buffer.alloc(0), id: 0 };

  /** The paths of the last folders, by id. */
  readonly #folders = new Map<number, Buffer>();

  constructor(database: Database) {
    this.#find = database.prepare('SELECT id FROM name WHERE parent = ? AND name = ?');
    this.#add = database.prepare('INSERT INTO name (parent, name) VALUES (?, ?)');
    this.#read = database.prepare('SELECT parent, name FROM name WHERE id = ?');
  }

  #idIn(parent: number, name: Uint8Array): number | undefined {
    return (this.#find.get(parent, name) as { id: number } | undefined)?.id;
  }

  /** Returns the id of a name in a folder, and adds the name if it is missing. */
  add(parent: number, name: Uint8Array): number {
    return this.#idIn(parent, name) ?? Number(this.#add.run(parent, name).lastInsertRowid);
  }

  /** Returns the id of a path below tree/; undefined if the index does not have it. */
  idOf(path: Buffer): number | undefined {
    const end = path.lastIndexOf('/');
    const folder = path.subarray(0, Math.max(0, end));
    let parent: number | undefined = 0;
    if (this.#last.folder.equals(folder)) parent = this.#last.id;
    else {
      let from = 0;
      for (let to = 0; parent !== undefined && to < folder.length; from = to + 1) {
        to = folder.indexOf('/', from);
        if (to < 0) to = folder.length;
        parent = this.#idIn(parent, folder.subarray(from, to));
      }
      if (parent !== undefined) this.#last = { folder: Buffer.from(folder), id: parent };
    }
    return parent === undefined ? undefined : this.#idIn(parent, path.subarray(end + 1));
  }

  /** Returns the path below tree/ of an id, without a leading slash. */
  pathOf(id: number): Buffer {
    const parts: Buffer[] = [];
    let parent = 0;
    for (let at = id; at !== 0; ) {
      const known = at === id ? undefined : this.#folders.get(at);
      if (known !== undefined) {
        parts.push(SLASH, known);
        break;
      }
      const found = this.#read.get(at) as { parent: number; name: Uint8Array } | undefined;
      if (found === undefined) break; // the index is only a cache, and it is damaged
      parts.push(...(parts.length > 0 ? [SLASH] : []), Buffer.from(found.name));
      if (at === id) parent = found.parent;
      at = found.parent;
    }
    const path = Buffer.concat(parts.reverse());
    if (parent !== 0) this.#keepFolder(parent, path.subarray(0, path.lastIndexOf('/')));
    return path;
  }

  #keepFolder(id: number, path: Buffer): void {
    if (this.#folders.has(id)) return;
    if (this.#folders.size >= FOLDERS) this.#folders.clear();
    this.#folders.set(id, Buffer.from(path));
  }

  /** Forgets the last folders. Call this when ids may have been deleted. */
  forget(): void {
    this.#folders.clear();
    this.#last = { folder: Buffer.alloc(0), id: 0 };
  }
}
