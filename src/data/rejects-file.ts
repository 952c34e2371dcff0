import { type WriteFs, step, writeAll } from './disk.ts';
import type { Reject } from './rejects.ts';

/** `rejects.jsonl`, written as it comes. */
export class RejectsFile {
  lines = 0;
  #fd = -1;
  #waiting: string[] = [];

  constructor(
    readonly path: string,
    readonly names: ReadonlyMap<string, string>,
    readonly fs: WriteFs,
  ) {}

  add(reject: Reject): void {
    if (this.#fd < 0) this.#fd = step(this.path, () => this.fs.openSync(this.path, 'w'));
    this.#waiting.push(`${JSON.stringify({ ...reject, source: this.names.get(reject.source) ?? reject.source })}\n`);
    this.lines++;
    if (this.#waiting.length >= 1000) this.#flush();
  }

  close(): void {
    if (this.#fd < 0) return;
    const fd = this.#fd;
    this.#flush();
    this.#fd = -1;
    step(this.path, () => {
      this.fs.fsyncSync(fd);
      this.fs.closeSync(fd);
    });
  }

  #flush(): void {
    const bytes = Buffer.from(this.#waiting.join(''));
    this.#waiting = [];
    step(this.path, () => writeAll(this.fs, this.#fd, bytes));
  }
}
