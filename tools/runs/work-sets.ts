/** The files that benchmarks back up, and the changes to them. All of it is the same in each run: nothing is random. */
import { execFileSync } from 'node:child_process';
import { createCipheriv } from 'node:crypto';
import {
  appendFileSync,
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  statSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';

/** real: copies of /usr/share. small: files of up to 1.5 kB. large: files that do not compress. */
export const SETS = ['real', 'small', 'large'] as const;
export type SetName = (typeof SETS)[number];

const PER_FOLDER = 100;
const MEBIBYTE = 1 << 20;
const CHANGED_SHARE = 0.01;
/** The content of a large file changes in this number of places. */
const PLACES = 10;

export class WorkSet {
  readonly name: SetName;
  readonly #data: string;
  readonly #count: number;
  readonly #mebibytes: number;
  #files: string[] = [];

  /** @param data an empty folder @param count the number of files, at least for `real` @param mebibytes of each large file */
  constructor(name: SetName, data: string, count: number, mebibytes: number) {
    this.name = name;
    this.#data = data;
    this.#count = count;
    this.#mebibytes = mebibytes;
  }

  /** Makes the files, for the folder's owner. @returns their number and bytes */
  plant(): { files: number; bytes: number } {
    if (this.name === 'real') this.#copyReal();
    else if (this.name === 'small') this.#makeSmall();
    else this.#makeLarge();
    execFileSync('chown', ['-hR', '--reference', this.#data, this.#data]);
    this.#files = listFiles(this.#data);
    const sizes = execFileSync('find', [this.#data, '-type', 'f', '-printf', '%s\\n'], {
      encoding: 'latin1',
      maxBuffer: 1 << 30,
    });
    const bytes = sizes.split('\n').reduce((sum, each) => sum + Number(each), 0);
    return { files: this.#files.length, bytes };
  }

  #copyReal(): void {
    for (let copy = 0, count = 0; count < this.#count; copy += 1) {
      const folder = join(this.#data, `tree ${copy}`);
      mkdirSync(folder);
      // Whole folders of /usr/share, until there are enough files.
      for (const each of readdirSync('/usr/share').sort()) {
        if (count >= this.#count) return;
        execFileSync('cp', ['-a', '--no-preserve=ownership', join('/usr/share', each), join(folder, each)]);
        count += listFiles(join(folder, each)).length;
      }
    }
  }

  #makeSmall(): void {
    for (let number = 0; number < this.#count; number += 1) {
      const folder = join(this.#data, `folder ${Math.floor(number / PER_FOLDER)}`);
      if (number % PER_FOLDER === 0) mkdirSync(folder);
      appendFileSync(join(folder, `file ${number}`), `${number} `.repeat(1 + (number % 300)));
    }
  }

  /** What a cipher makes of zeros looks random, and is the same in each run. */
  #makeLarge(): void {
    const zeros = Buffer.alloc(MEBIBYTE);
    for (let number = 0; number < this.#count; number += 1) {
      const cipher = createCipheriv('aes-128-ctr', Buffer.alloc(16, number + 1), Buffer.alloc(16));
      const file = openSync(join(this.#data, `file ${number}`), 'wx', 0o600);
      for (let each = 0; each < this.#mebibytes; each += 1) writeSync(file, cipher.update(zeros));
      closeSync(file);
    }
  }

  /**
   * Changes 1 % of the files by one byte more, other ones in each round; of large files (fewer than 100) one, by 1 % of its bytes in
   * ten places.
   */
  changeSome(round: number): void {
    if (this.name === 'large') {
      const path = this.#files[round % this.#files.length] ?? '';
      const { size } = statSync(path);
      const piece = Math.floor((size * CHANGED_SHARE) / PLACES);
      for (let place = 0; place < PLACES; place += 1)
        overwrite(path, Math.floor((size * place) / PLACES), Buffer.alloc(piece, 1 + round));
      return;
    }
    const step = Math.round(1 / CHANGED_SHARE);
    for (let at = round; at < this.#files.length; at += step)
      appendFileSync(Buffer.from(this.#files[at] ?? '', 'latin1'), 'x');
  }

  /** Changes one byte in the middle of the largest file. */
  changeByte(round: number): void {
    let largest = { path: Buffer.alloc(0), size: -1 };
    for (const each of this.#files) {
      const path = Buffer.from(each, 'latin1');
      const { size } = statSync(path);
      if (size > largest.size) largest = { path, size };
    }
    overwrite(largest.path, Math.floor(largest.size / 2), Buffer.alloc(1, 1 + round));
  }

  /** Renames the first folder, or moves the first file into a folder of its own where there are only files. */
  moveFolder(round: number): void {
    const [top = ''] = readdirSync(this.#data).sort();
    const to = join(this.#data, `moved ${round}`);
    if (statSync(join(this.#data, top)).isDirectory()) renameSync(join(this.#data, top), to);
    else {
      mkdirSync(to);
      renameSync(join(this.#data, top), join(to, top));
    }
    execFileSync('chown', ['--reference', this.#data, to]);
    this.#files = listFiles(this.#data);
  }
}

function overwrite(path: string | Buffer, position: number, bytes: Buffer): void {
  const file = openSync(path, 'r+');
  try {
    writeSync(file, bytes, 0, bytes.length, position);
  } finally {
    closeSync(file);
  }
}

/** The plain files below a folder, in a fixed order, as latin1 of their bytes. */
function listFiles(folder: string): string[] {
  return execFileSync('find', [folder, '-type', 'f', '-print0'], { maxBuffer: 1 << 30, encoding: 'latin1' })
    .split('\0')
    .filter(each => each !== '')
    .sort();
}
