/** The tables of a client's index. */
import type { Shape } from '../os/database.ts';

/** One row for each name in its folder. */
const NAME_TABLE = `
    CREATE TABLE name (
      id INTEGER PRIMARY KEY,
      parent INTEGER NOT NULL,        -- the folder's own id; 0: the top of tree/
      name BLOB NOT NULL,
      UNIQUE (parent, name)
    );`;

/** The beginning of a statement that needs paths. It defines the table paths (id, path) of all names. */
export const WITH_PATHS = `WITH RECURSIVE paths (id, path) AS (
    SELECT id, name FROM name WHERE parent = 0
    UNION ALL
    SELECT name.id, CAST(paths.path || x'2f' || name.name AS BLOB) FROM paths JOIN name ON name.parent = paths.id)`;

/** The database of an index; one of another application or version is made again. */
export const INDEX_SHAPE: Shape = {
  application: 0x6462_6978, // "dbix"
  version: 4,
  tables: `
    CREATE TABLE snapshot (
      id INTEGER PRIMARY KEY AUTOINCREMENT, -- none is given twice
      name TEXT NOT NULL UNIQUE,
      tree INTEGER NOT NULL,          -- the inode of tree/: another one is another snapshot of the same name
      made INTEGER NOT NULL,          -- and when that was made, in ns: in a copy of the store a tree/ can get the number that it had
      folders INTEGER NOT NULL,       -- each a folder of its own
      folder_bytes INTEGER NOT NULL,
      whole INTEGER NOT NULL          -- 0: something in it could not be read, and it is looked through again
    );
${NAME_TABLE}
    CREATE TABLE inode (
      ino INTEGER PRIMARY KEY,
      bytes INTEGER NOT NULL,         -- on the disk
      size INTEGER NOT NULL,
      mtime TEXT NOT NULL,            -- SECONDS.NANOSECONDS
      digest BLOB                     -- SHA-256 of its content, once it was read
    );
    CREATE TABLE file (
      name INTEGER NOT NULL,
      ino INTEGER NOT NULL,           -- 0: a folder
      first INTEGER NOT NULL,
      last INTEGER,
      PRIMARY KEY (name, ino, first)
    ) WITHOUT ROWID;
    CREATE INDEX file_ino ON file (ino, first, last);
    CREATE INDEX file_first ON file (first);
    CREATE INDEX file_last ON file (last);
  `,
};
