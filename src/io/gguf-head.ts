// The head of a GGUF file: typed values, counts, names and descriptions of tensors, one after the other.

import { CheckpointError, quote } from './checkpoint-error.ts';
import { type GgufType, ggufTypes } from './gguf-quant.ts';
import { decodeUtf8 } from './json-scanner.ts';
import type { ReadAt } from './stored-zip.ts';

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

const MAX_ARRAY = 2 ** 24;
/** Keys, values and tensor descriptions together: a vocabulary of a million tokens takes a quarter of it. */
const MAX_HEADER = 128 * 2 ** 20;

/** Reads the head of a file piece by piece; every length is held against the bytes that are left. */
export class Cursor {
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
