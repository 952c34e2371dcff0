/** A JSONL file that appears whole or not at all: written under a temporary name, then fsync and one rename. */
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fsyncFolder, realFs, step, type WriteFs, writeAll } from './disk.ts';
import { isAlive } from './unfinished.ts';

const FLUSH_CHARS = 1 << 20;

export class JsonlFile {
  rows = 0;
  bytes = 0;
  readonly #temporary: string;
  readonly #fd: number;
  readonly #hash = createHash('sha256');
  #waiting: string[] = [];
  #chars = 0;
  #open = true;

  /** Nothing is seen at `path` before `publish`. What a killed process left there goes. */
  constructor(
    readonly path: string,
    readonly fs: WriteFs = realFs,
  ) {
    this.#temporary = `${path}.tmp-${process.pid}`;
    this.#fd = step(path, () => {
      mkdirSync(dirname(path), { recursive: true });
      removeLeftovers(path, fs);
      return fs.openSync(this.#temporary, 'w');
    });
  }

  add(row: Readonly<Record<string, unknown>>): void {
    const line = `${JSON.stringify(row)}\n`;
    this.#waiting.push(line);
    this.#chars += line.length;
    this.rows++;
    if (this.#chars >= FLUSH_CHARS) this.#flush();
  }

  /** The file is there, durable. Returns the SHA-256 of its bytes. */
  publish(): string {
    this.#flush();
    step(this.path, () => {
      this.fs.fsyncSync(this.#fd);
      this.#close();
      this.fs.renameSync(this.#temporary, this.path);
      fsyncFolder(this.fs, dirname(this.path));
    });
    return this.#hash.digest('hex');
  }

  /** Leaves nothing behind. After `publish` it does nothing. */
  abandon(): void {
    if (!this.#open) return;
    this.#close();
    this.fs.rmSync(this.#temporary, { force: true });
  }

  #close(): void {
    this.#open = false;
    this.fs.closeSync(this.#fd);
  }

  #flush(): void {
    const bytes = Buffer.from(this.#waiting.join(''));
    this.#waiting = [];
    this.#chars = 0;
    this.bytes += bytes.length;
    this.#hash.update(bytes);
    step(this.path, () => writeAll(this.fs, this.#fd, bytes));
  }
}

function removeLeftovers(path: string, fs: WriteFs): void {
  const prefix = `${basename(path)}.tmp-`;
  for (const name of readdirSync(dirname(path))) {
    if (!name.startsWith(prefix)) continue;
    const pid = Number(name.slice(prefix.length));
    if (Number.isSafeInteger(pid) && pid > 0 && !isAlive(pid)) fs.rmSync(join(dirname(path), name), { force: true });
  }
}
