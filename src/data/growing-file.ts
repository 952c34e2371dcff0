/** A file that only grows, with the SHA-256 of what it has: where the bytes that a state tells of are still there, writing goes on behind them. */
import { createHash, type Hash } from 'node:crypto';
import { closeSync, openSync, readFileSync, readSync, truncateSync } from 'node:fs';
import { realFs, step, type WriteFs, writeAll } from './disk.ts';

const FLUSH_BYTES = 1 << 20;

/** The beginning of a file: so many bytes (and rows), and their hash. */
export interface Extent {
  bytes: number;
  rows: number;
  sha256: string;
}

export class GrowingFile {
  rows = 0;
  bytes = 0;
  readonly #fd: number;
  #hash: Hash;
  #rows: string[] = [];
  #waiting = 0;
  #block = Buffer.alloc(0);
  #filled = 0;
  #open = true;

  /** `from`: the file is there already, with this at its beginning, and the hash of that; what is behind it goes. */
  constructor(
    readonly path: string,
    readonly fs: WriteFs = realFs,
    from?: { extent: Extent; hash: Hash },
  ) {
    this.#hash = from?.hash.copy() ?? createHash('sha256');
    if (from) {
      ({ rows: this.rows, bytes: this.bytes } = from.extent);
      step(path, () => truncateSync(path, this.bytes));
    }
    this.#fd = step(path, () => fs.openSync(path, from ? 'a' : 'w'));
  }

  /** A row, as a line of JSON. A file has rows or bytes, not both. */
  add(row: unknown): void {
    const line = `${JSON.stringify(row)}\n`;
    this.#rows.push(line);
    this.rows++;
    this.#waiting += line.length;
    if (this.#waiting >= FLUSH_BYTES) this.#flush();
  }

  /** Room for so many bytes at its end, to be filled at once. */
  room(bytes: number): Buffer {
    if (this.#filled + bytes > this.#block.length) {
      this.#flush();
      if (bytes > this.#block.length) this.#block = Buffer.allocUnsafe(Math.max(bytes, FLUSH_BYTES));
    }
    this.#filled += bytes;
    return this.#block.subarray(this.#filled - bytes, this.#filled);
  }

  /** What it has now, as far as a killed process goes: with the operating system, not yet on the disk. */
  extent(): Extent {
    this.#flush();
    return { bytes: this.bytes, rows: this.rows, sha256: this.#hash.copy().digest('hex') };
  }

  /** All of it is on the disk. Returns the SHA-256. */
  finish(): string {
    this.#flush();
    step(this.path, () => {
      this.fs.fsyncSync(this.#fd);
      this.close();
    });
    return this.#hash.copy().digest('hex');
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.fs.closeSync(this.#fd);
  }

  #flush(): void {
    const bytes = this.#rows.length > 0 ? Buffer.from(this.#rows.join('')) : this.#block.subarray(0, this.#filled);
    this.#rows = [];
    this.#waiting = this.#filled = 0;
    if (bytes.length === 0) return;
    this.bytes += bytes.length;
    this.#hash.update(bytes);
    step(this.path, () => writeAll(this.fs, this.#fd, bytes));
  }
}

/** What was appended to a file, in pieces of `size` bytes each. A piece is valid until the next. */
export function* piecesOf({ path, bytes }: GrowingFile, size: number): Generator<Buffer> {
  const fd = openSync(path, 'r');
  try {
    const buffer = Buffer.allocUnsafe(size * Math.ceil(FLUSH_BYTES / size));
    for (let at = 0; at < bytes; ) {
      const read = readSync(fd, buffer, 0, Math.min(buffer.length, bytes - at), at);
      const whole = read - (read % size);
      if (whole === 0) throw new Error(`${path}: the file ends early`);
      for (let i = 0; i < whole; i += size) yield buffer.subarray(i, i + size);
      at += whole;
    }
  } finally {
    closeSync(fd);
  }
}

/** The lines of a file that has no more of them than fit in memory. */
export const linesOf = ({ path, bytes }: GrowingFile): string[] =>
  readFileSync(path).toString('utf8', 0, bytes).split('\n').slice(0, -1);

/**
 * How many of the states, each of which tells what all the files had, are true from the first one on; with the hashes of the last true one. Files are read
 * once, no further than that.
 */
export function trueStates(paths: readonly string[], states: readonly (readonly Extent[])[]): { count: number; hashes: Hash[] } {
  let hashes = paths.map(() => createHash('sha256'));
  const buffer = Buffer.allocUnsafe(FLUSH_BYTES);
  const fds: number[] = [];
  try {
    for (const path of paths) fds.push(openSync(path, 'r'));
    for (const [count, extents] of states.entries()) {
      const now = hashes.map((hash) => hash.copy());
      for (const [i, { bytes, sha256 }] of extents.entries()) {
        for (let at = count === 0 ? 0 : states[count - 1][i].bytes; at < bytes; ) {
          const read = readSync(fds[i], buffer, 0, Math.min(buffer.length, bytes - at), at);
          if (read === 0) return { count, hashes };
          now[i].update(buffer.subarray(0, read));
          at += read;
        }
        if (now[i].copy().digest('hex') !== sha256) return { count, hashes };
      }
      hashes = now;
    }
    return { count: states.length, hashes };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).syscall === undefined) throw error;
    return { count: 0, hashes: [] }; // gone, or not to be read
  } finally {
    for (const fd of fds) closeSync(fd);
  }
}
