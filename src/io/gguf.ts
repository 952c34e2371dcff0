import { CheckpointError, quote } from './checkpoint-error.ts';
import { openRegular, quietly, readFully, realFs } from './file-system.ts';
import { Cursor, type GgufTensor, type GgufValue } from './gguf-head.ts';
import { dequantize } from './gguf-quant.ts';
import type { ReadAt } from './stored-zip.ts';

// GGUF: magic · version · counts · keys with typed values · tensor descriptions · data, each tensor aligned. What llama.cpp reads.

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
