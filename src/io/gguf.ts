import { CheckpointError, quote } from './checkpoint-error.ts';
import { openRegular, quietly, readFully, realFs } from './file-system.ts';
import { dequantize, type GgufType, ggufTypes } from './gguf-quant.ts';
import { decodeUtf8 } from './json-scanner.ts';
import type { ReadAt } from './stored-zip.ts';

// GGUF: magic · version · counts · keys with typed values · tensor descriptions · data, each tensor aligned. What llama.cpp reads.

/** A value with its type in the file; an array has values of one type and no arrays inside. */
export type GgufValue =
  | { type: 'u8' | 'i8' | 'u16' | 'i16' | 'u32' | 'i32' | 'f32' | 'f64'; value: number }
  | { type: 'u64' | 'i64'; value: bigint }
  | { type: 'bool'; value: boolean }
  | { type: 'string'; value: string }
  | { type: 'array'; of: Exclude<GgufValueType, 'array'>; value: (number | bigint | boolean | string)[] };
export type GgufValueType = (typeof valueTypes)[number];

/** In the order of their numbers in the file. */
export const valueTypes = [
  'u8',
  'i8',
  'u16',
  'i16',
  'u32',
  'i32',
  'f32',
  'bool',
  'string',
  'array',
  'u64',
  'i64',
  'f64',
] as const;
/** Bytes of a value, or the fewest that a string or an array takes. */
export const widths: Record<GgufValueType, number> = {
  u8: 1,
  i8: 1,
  u16: 2,
  i16: 2,
  u32: 4,
  i32: 4,
  f32: 4,
  bool: 1,
  string: 8,
  array: 12,
  u64: 8,
  i64: 8,
  f64: 8,
};
const typeNames = new Map<number, GgufType>(Object.entries(ggufTypes).map(([name, { id }]) => [id, name as GgufType]));

export interface GgufTensor {
  type: GgufType;
  /** Slowest axis first, as everywhere here; the file has them the other way round. */
  shape: number[];
  byteOffset: number;
  byteLength: number;
}

export interface GgufReader {
  version: number;
  metadata: Map<string, GgufValue>;
  tensors: Map<string, GgufTensor>;
  /** Bytes of a tensor as they are in the file. */
  read(name: string): Uint8Array;
  /** Values of a tensor, or `rows` of its rows from the `first`-th on, blocks unpacked. @throws TypeError for block types that are only passed through */
  readFloats(name: string, first?: number, rows?: number): Float32Array;
  close(): void;
}

/** What `general.alignment` is when absent. */
export const ALIGNMENT = 32;
const MAX_ALIGNMENT = 2 ** 20;
const MAX_TENSORS = 100_000;
const MAX_ARRAY = 2 ** 24;
/** Keys, values and tensor descriptions together: a vocabulary of a million tokens takes a quarter of it. */
const MAX_HEADER = 128 * 2 ** 20;

/** Opens a GGUF file (versions 2 and 3, little-endian). @throws CheckpointError GGUF_* (reliability.md §4, row G1) */
export function openGguf(path: string): GgufReader {
  const fd = openRegular(path);
  try {
    const { size } = realFs.fstatSync(fd);
    const readAt = (position: number, length: number) => {
      const bytes = new Uint8Array(length);
      if (readFully(realFs, fd, bytes, position) < length)
        throw new CheckpointError('CHANGED', path, 'file ends earlier than when it was opened', 'Read it again');
      return bytes;
    };
    return readGguf(readAt, size, path, () => realFs.closeSync(fd));
  } catch (error) {
    quietly(() => realFs.closeSync(fd));
    throw error;
  }
}

/** The same for a file that is in memory already; `read` returns views, not copies. */
export function parseGguf(bytes: Uint8Array, file = 'gguf'): GgufReader {
  return readGguf(
    (position, length) => bytes.subarray(position, position + length),
    bytes.length,
    file,
    () => {},
  );
}

/** Reads through any source of bytes. */
export function readGguf(readAt: ReadAt, size: number, file: string, close: () => void): GgufReader {
  const cursor = new Cursor(readAt, size, file);
  if (size < 24 || cursor.number('u32') !== 0x46554747) throw cursor.fault('MAGIC', 'the file does not start with "GGUF"');
  const version = cursor.number('u32');
  if (version !== 2 && version !== 3) throw cursor.fault('VERSION', `version ${version}; this program reads 2 and 3`);
  const tensorCount = cursor.count('tensors', 32);
  const keyCount = cursor.count('keys', 13);
  if (tensorCount > MAX_TENSORS) throw cursor.fault('LIMIT', `${tensorCount} tensors; the limit is ${MAX_TENSORS}`);
  const metadata = new Map<string, GgufValue>();
  for (let i = 0; i < keyCount; i++) {
    const key = cursor.text('a key');
    if (metadata.has(key)) throw cursor.fault('DUP_KEY', `key ${quote(key)} appears twice`);
    metadata.set(key, cursor.value(key));
  }
  const alignment = checkAlignment(metadata.get('general.alignment'), cursor);
  const tensors = new Map<string, GgufTensor>();
  for (let i = 0; i < tensorCount; i++) {
    const name = cursor.text('a tensor name');
    if (tensors.has(name)) throw cursor.fault('DUP_KEY', `tensor ${quote(name)} appears twice`);
    if (name.length > 1024 || name.includes('\0'))
      throw cursor.fault('NAME', `tensor name ${quote(name)} is too long or has a NUL byte`);
    tensors.set(name, cursor.tensor(name));
  }
  placeTensors(tensors, alignUp(cursor.at, alignment), alignment, size, cursor);
  const find = (name: string): GgufTensor => {
    const tensor = tensors.get(name);
    if (tensor) return tensor;
    throw new CheckpointError('NO_TENSOR', file, `there is no tensor ${quote(name)} among the ${tensors.size} of this file`);
  };
  return {
    version,
    metadata,
    tensors,
    read(name) {
      const { byteOffset, byteLength } = find(name);
      return readAt(byteOffset, byteLength);
    },
    readFloats(name, first = 0, rows) {
      const { type, shape, byteOffset, byteLength } = find(name);
      const of = shape.slice(0, -1).reduce((a, b) => a * b, 1); // rows are whole blocks
      const row = byteLength / of;
      return dequantize(type, readAt(byteOffset + first * row, (rows ?? of - first) * row));
    },
    close,
  };
}

/** The next multiple of `alignment`. */
export const alignUp = (n: number, alignment: number) => Math.ceil(n / alignment) * alignment;

function checkAlignment(value: GgufValue | undefined, cursor: Cursor): number {
  if (value === undefined) return ALIGNMENT;
  const n = value.type === 'u32' ? value.value : 0;
  if (n < 1 || n > MAX_ALIGNMENT || (n & (n - 1)) !== 0) {
    throw cursor.fault(
      'ALIGNMENT',
      `general.alignment is ${String(value.value)} (${value.type}); it must be a power of two up to ${MAX_ALIGNMENT}, as u32`,
    );
  }
  return n;
}

/** Tensors must follow each other, each at the next multiple of the alignment, and end with the file (or its padding). */
function placeTensors(
  tensors: Map<string, GgufTensor>,
  dataStart: number,
  alignment: number,
  size: number,
  cursor: Cursor,
): void {
  let end = 0;
  for (const [name, tensor] of [...tensors].sort(([, a], [, b]) => a.byteOffset - b.byteOffset)) {
    const expected = alignUp(end, alignment);
    if (tensor.byteOffset !== expected)
      throw cursor.fault('OFFSET', `${quote(name)} starts at ${tensor.byteOffset}, expected ${expected}`);
    end = expected + tensor.byteLength;
    tensor.byteOffset += dataStart;
  }
  const last = dataStart + end;
  if (tensors.size > 0 && last > size)
    throw cursor.fault('TRUNCATED', `data ends at byte ${last}, the file has ${size}`, 'Download it again');
  if (size > Math.max(alignUp(last, alignment), cursor.at))
    throw cursor.fault('TRAILING', `${size - last} bytes after the last tensor`);
}

/** Reads the head of a file piece by piece; every length is held against the bytes that are left. */
class Cursor {
  at = 0;
  private start = 0;
  private piece: Uint8Array = new Uint8Array();
  constructor(
    private readonly readAt: ReadAt,
    private readonly size: number,
    private readonly file: string,
  ) {}

  fault(code: string, detail: string, hint = 'This is not a GGUF file, or it is damaged'): CheckpointError {
    return new CheckpointError(`GGUF_${code}`, this.file, detail, hint);
  }

  private bytes(length: number, what: string): Uint8Array {
    const left = this.size - this.at;
    if (length > left) throw this.fault('LENGTH', `${what} claims ${length} bytes, ${left} follow`);
    if (this.at + length > MAX_HEADER) throw this.fault('LIMIT', `the head of the file is longer than ${MAX_HEADER} bytes`);
    if (this.at < this.start || this.at + length > this.start + this.piece.length) {
      this.start = this.at;
      this.piece = this.readAt(this.at, Math.min(left, Math.max(length, 2 ** 20)));
    }
    const from = this.at - this.start;
    this.at += length;
    return this.piece.subarray(from, from + length);
  }

  private view(length: number, what: string): DataView {
    const bytes = this.bytes(length, what);
    return new DataView(bytes.buffer, bytes.byteOffset, length);
  }

  number(type: 'u8' | 'i8' | 'u16' | 'i16' | 'u32' | 'i32' | 'f32' | 'f64', what = 'a number'): number {
    const view = this.view(widths[type], what);
    if (type === 'u8') return view.getUint8(0);
    if (type === 'i8') return view.getInt8(0);
    if (type === 'u16') return view.getUint16(0, true);
    if (type === 'i16') return view.getInt16(0, true);
    if (type === 'u32') return view.getUint32(0, true);
    if (type === 'i32') return view.getInt32(0, true);
    return type === 'f32' ? view.getFloat32(0, true) : view.getFloat64(0, true);
  }

  /** A u64 that counts things of at least `least` bytes each, which must still be in the file. */
  count(what: string, least: number): number {
    const n = this.view(8, what).getBigUint64(0, true);
    const left = this.size - this.at;
    if (n > BigInt(Math.floor(left / least))) throw this.fault('LENGTH', `${n} ${what} are claimed, ${left} bytes follow`);
    return Number(n);
  }

  text(what: string): string {
    const n = this.view(8, what).getBigUint64(0, true);
    if (n > BigInt(this.size - this.at)) throw this.fault('LENGTH', `${what} claims ${n} bytes, ${this.size - this.at} follow`);
    return decodeUtf8(this.bytes(Number(n), what), this.file, what, 'GGUF_UTF8');
  }

  value(key: string): GgufValue {
    const type = this.valueType(key);
    const what = `key ${quote(key)}`;
    if (type !== 'array') return { type, value: this.scalar(type, what) } as GgufValue;
    const of = this.valueType(key);
    if (of === 'array') throw this.fault('TYPE', `${what} is an array of arrays`);
    const n = this.count(`values of ${what}`, widths[of]);
    if (n > MAX_ARRAY) throw this.fault('LIMIT', `${what} has ${n} values; the limit is ${MAX_ARRAY}`);
    const value: (number | bigint | boolean | string)[] = [];
    for (let i = 0; i < n; i++) value.push(this.scalar(of, what));
    return { type, of, value };
  }

  private valueType(key: string): GgufValueType {
    const id = this.number('u32');
    if (id >= valueTypes.length) throw this.fault('TYPE', `key ${quote(key)} has the unknown type ${id}`);
    return valueTypes[id];
  }

  private scalar(type: Exclude<GgufValueType, 'array'>, what: string): number | bigint | boolean | string {
    if (type === 'string') return this.text(what);
    if (type === 'u64') return this.view(8, what).getBigUint64(0, true);
    if (type === 'i64') return this.view(8, what).getBigInt64(0, true);
    if (type !== 'bool') return this.number(type, what);
    const byte = this.number('u8', what);
    if (byte > 1) throw this.fault('TYPE', `${what} is a boolean with the value ${byte}`);
    return byte === 1;
  }

  /** Dimensions, type and offset of a tensor; the offset still counts from the start of the data. */
  tensor(name: string): GgufTensor {
    const dims = this.number('u32');
    if (dims > 4) throw this.fault('DIMS', `${quote(name)} has ${dims} dimensions; GGUF has at most 4`);
    const shape: number[] = [];
    let values = 1;
    for (let i = 0; i < dims; i++) {
      const n = this.view(8, 'a dimension').getBigUint64(0, true);
      if (n < 1n || n > BigInt(Number.MAX_SAFE_INTEGER))
        throw this.fault('DIMS', `${quote(name)} has a dimension of ${BigInt.asIntN(64, n)}`);
      shape.unshift(Number(n));
      values *= Number(n);
    }
    const id = this.number('u32');
    const type = typeNames.get(id);
    if (!type) throw this.fault('TYPE', `${quote(name)} has the unknown type ${id}`);
    const block = ggufTypes[type];
    const row = shape.at(-1) ?? 1;
    if (row % block.values !== 0)
      throw this.fault('DIMS', `${quote(name)}: rows of ${row} values are no whole blocks of ${type} (${block.values})`);
    const byteLength = (values / block.values) * block.bytes;
    if (!(values <= Number.MAX_SAFE_INTEGER && byteLength <= Number.MAX_SAFE_INTEGER))
      throw this.fault('SIZE', `${quote(name)}: shape [${shape.join(',')}] overflows`);
    const offset = this.view(8, 'an offset').getBigUint64(0, true);
    if (offset > BigInt(Number.MAX_SAFE_INTEGER - byteLength))
      throw this.fault('OFFSET', `${quote(name)} starts at ${offset}, behind the end of the file`);
    return { type, shape, byteOffset: Number(offset), byteLength };
  }
}

/** The value of a key, when it has the kind asked for. @throws CheckpointError GGUF_TYPE, GGUF_KEY (absent and no default) */
export function ggufKey(reader: GgufReader, key: string, kind: 'number', fallback?: number): number;
export function ggufKey(reader: GgufReader, key: string, kind: 'string', fallback?: string): string;
export function ggufKey(reader: GgufReader, key: string, kind: 'strings', fallback?: string[]): string[];
export function ggufKey(reader: GgufReader, key: string, kind: 'numbers', fallback?: number[]): number[];
export function ggufKey(reader: GgufReader, key: string, kind: string, fallback?: unknown): unknown {
  const found = reader.metadata.get(key);
  if (!found) {
    if (fallback !== undefined) return fallback;
    throw new CheckpointError('GGUF_KEY', 'gguf', `key ${quote(key)} is missing`);
  }
  const one = kind.replace(/s$/, '');
  const fits = (value: unknown) =>
    one === 'number' ? typeof value === 'number' || typeof value === 'bigint' : typeof value === one;
  const many = kind !== one;
  if (many ? found.type === 'array' && found.value.every(fits) : found.type !== 'array' && fits(found.value)) {
    if (one === 'string') return found.value;
    return found.type === 'array' ? found.value.map(Number) : Number(found.value);
  }
  const is = found.type === 'array' ? `an array of ${found.of}` : `a ${found.type}`;
  throw new CheckpointError('GGUF_TYPE', 'gguf', `key ${quote(key)} is ${is}, expected ${many ? 'an array of' : 'a'} ${one}`);
}
