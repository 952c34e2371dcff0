/** What the readers of Parquet and Arrow share: an open file that is read in checked ranges, limits, and values as JSON has them. */
import { isUtf8 } from 'node:buffer';
import { type FileHandle, open } from 'node:fs/promises';

export interface OpenTable {
  /** Names of all columns. */
  columns: string[];
  /** Rows, where the file says it; −1 otherwise. */
  rows: number;
  batches(): AsyncGenerator<{ rows: Record<string, unknown>[]; share: number }>;
  close(): Promise<void>;
}

/** Text that is decoded at once. */
export const BATCH_BYTES = 32 << 20;
/** One part of a file (a page, a message) may be this large; what programs write by default is 1 to 64 MiB. */
export const MAX_PART_BYTES = 512 << 20;
const MAX_RATIO = 200;
const HARMLESS_BYTES = 64 << 20;

/** The output is more than 200 times the input. */
export class Expanding extends Error {
  constructor(readonly read: number) {
    super('it expands without end');
  }
}

/** Counts what decompression gives. */
export function expansionLimit(fileBytes: number): (outputBytes: number) => void {
  let written = 0;
  return (bytes) => {
    if (!(Number.isSafeInteger(bytes) && bytes >= 0 && bytes <= MAX_PART_BYTES)) throw new Error(`a part of ${bytes} bytes`);
    written += bytes;
    if (written > HARMLESS_BYTES && written > MAX_RATIO * fileBytes) throw new Expanding(fileBytes);
  };
}

/** A file of which any range can be read, and nothing outside of it. */
export class RangeFile {
  private constructor(
    readonly handle: FileHandle,
    readonly byteLength: number,
    readonly mtimeMs: number,
  ) {}

  static async open(path: string): Promise<RangeFile> {
    const handle = await open(path, 'r');
    const { size, mtimeMs } = await handle.stat();
    return new RangeFile(handle, size, mtimeMs);
  }

  async slice(from: number, to: number = this.byteLength): Promise<ArrayBuffer> {
    if (!(Number.isSafeInteger(from) && Number.isSafeInteger(to) && from >= 0 && from <= to && to <= this.byteLength))
      throw new Error(`bytes ${from} … ${to} are outside of the ${this.byteLength} of the file`);
    if (to - from > 2 * MAX_PART_BYTES)
      throw new Error(
        `a column of ${to - from} bytes in one row group; ${2 * MAX_PART_BYTES} can be read. Write smaller row groups`,
      );
    const bytes = new Uint8Array(to - from);
    for (let done = 0; done < bytes.length; ) {
      const { bytesRead } = await this.handle.read(bytes, done, bytes.length - done, from + done);
      if (bytesRead === 0) throw new Error('the file ends early');
      done += bytesRead;
    }
    return bytes.buffer as ArrayBuffer;
  }

  /** Throws `changed` (table.ts) when it is no longer the file that was opened. */
  async check(): Promise<void> {
    const { size, mtimeMs } = await this.handle.stat();
    if (size !== this.byteLength || mtimeMs !== this.mtimeMs) throw new Error('changed');
  }

  close(): Promise<void> {
    return this.handle.close();
  }
}

const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
/** Text; or its bytes, where they are no UTF-8. */
export const textOrBytes = (bytes: Uint8Array): string | Uint8Array => (isUtf8(bytes) ? decoder.decode(bytes) : bytes.slice());

const MAX_DEPTH = 32;
/** Elements of lists that the rows of one batch may have: a few bytes of offsets can claim any number. */
let elementsLeft = 0;
export function allowElements(bytes: number): void {
  elementsLeft = 8 * bytes + 1e4;
}
function take(elements: unknown): void {
  elementsLeft -= Number(elements);
  if (!(elementsLeft >= 0)) throw new Error('a list is longer than the file');
}

/** The elements of a list, once they are counted. */
export function elements<T extends Iterable<unknown>>(list: T): T {
  take((list as { length?: number }).length ?? 0);
  return list;
}

/** A value as JSON has it. A top-level text that is no UTF-8 stays bytes. */
export function plain(value: unknown, depth = 0): unknown {
  if (value === null || value === undefined) return null;
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
  if (typeof value !== 'object') return value;
  if (depth > MAX_DEPTH) throw new Error(`values are nested more than ${MAX_DEPTH} deep`);
  if (value instanceof Uint8Array) return depth === 0 ? value : Buffer.from(value).toString('base64');
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString();
  if (Array.isArray(value) || ArrayBuffer.isView(value) || 'length' in value) take((value as { length?: number }).length ?? 0);
  if (ArrayBuffer.isView(value)) return Array.from(value as unknown as ArrayLike<number | bigint>, (v) => plain(v, depth + 1));
  if (Array.isArray(value)) return value.map((v) => plain(v, depth + 1));
  if (value instanceof Map) return Object.fromEntries([...value].map(([k, v]) => [String(k), plain(v, depth + 1)]));
  if (Symbol.iterator in value && !('toJSON' in value && 'size' in value))
    return Array.from(value as Iterable<unknown>, (v) => plain(v, depth + 1));
  const json = 'toJSON' in value && typeof value.toJSON === 'function' ? value.toJSON() : value;
  return Object.fromEntries(Object.entries(json as object).map(([k, v]) => [k, plain(v, depth + 1)]));
}
