/** Where many documents stand, in few bytes each; and on a disk, in twelve. */
import type { Place } from './pass.ts';

export const PLACE_BYTES = 12;

export class Places {
  readonly #sources: string[] = [];
  readonly #source: number[] = [];
  readonly #line: number[] = [];

  get length(): number {
    return this.#line.length;
  }

  at(i: number): Place {
    return { source: this.#sources[this.#source[i]], line: this.#line[i] };
  }

  /** `index` of the source among those that are read. Also written to `into`, from byte `at` on. */
  add(index: number, { source, line }: Place, into: Buffer, at: number): void {
    this.#sources[index] = source;
    this.#source.push(index);
    this.#line.push(line);
    into.writeUInt32LE(index, at);
    into.writeDoubleLE(line, at + 4);
  }

  /** What `add` wrote. */
  addFrom(bytes: Buffer, at: number, sources: readonly string[]): void {
    const index = bytes.readUInt32LE(at);
    this.#sources[index] = sources[index];
    this.#source.push(index);
    this.#line.push(bytes.readDoubleLE(at + 4));
  }
}
