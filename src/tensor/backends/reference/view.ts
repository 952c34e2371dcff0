import { QkvError } from '../../../errors.ts';
import type { Buffer, TypedData, View } from '../backend.ts';
import { fromBf16, fromF16, roundEven, toBf16, toF16 } from './half.ts';

/** Numbers to compute with, row-major. Reading an element gives a double either way. */
export type Numbers = Float32Array | Float64Array;

export type Precision = 'f32' | 'f64';

/**
 * The reference's memory: buffers by id, and strided views read into, and written from, contiguous arrays.
 * Kernels `load` their inputs, compute in float64 and `store` once: that is the only place where anything is rounded.
 */
export class Memory {
  readonly #blocks = new Map<number, ArrayBuffer>();
  #nextId = 1;
  reservedBytes = 0;

  constructor(
    readonly precision: Precision,
    readonly limitBytes: number,
  ) {}

  alloc(bytes: number): Buffer {
    const available = this.limitBytes - this.reservedBytes;
    const refuse = () =>
      new QkvError('E121', `alloc: no memory\n  asked ${bytes} bytes, available ${available} of ${this.limitBytes}`, {
        bytes,
        available,
      });
    if (!(bytes <= available)) throw refuse();
    const buffer = { id: this.#nextId++, bytes };
    try {
      const wide = this.precision === 'f64' ? 2 * bytes : bytes; // an f32 takes 8 bytes there
      this.#blocks.set(buffer.id, new ArrayBuffer(Math.ceil(wide / 8) * 8));
    } catch {
      throw refuse();
    }
    this.reservedBytes += bytes;
    return buffer;
  }

  free(buffer: Buffer): void {
    this.#block(buffer, 'free');
    this.#blocks.delete(buffer.id);
    this.reservedBytes -= buffer.bytes;
  }

  #block(buffer: Buffer, operation: string): ArrayBuffer {
    const block = this.#blocks.get(buffer.id);
    if (!block)
      throw new Error(
        `reference ${operation}: buffer ${buffer.id} (${buffer.bytes} bytes) has been freed, or is another backend's`,
      );
    return block;
  }

  /** The whole buffer as elements of the view's dtype; bf16 and f16 as their bits. */
  elements(view: View): TypedData {
    const block = this.#block(view.buffer, 'access');
    switch (view.dtype) {
      case 'f32':
        return this.precision === 'f64' ? new Float64Array(block) : new Float32Array(block);
      case 'bf16':
      case 'f16':
        return new Uint16Array(block);
      case 'i32':
        return new Int32Array(block);
      case 'u8':
        return new Uint8Array(block);
    }
  }

  /** The elements in row-major order. May be the buffer itself: read, do not write. */
  load(view: View): Numbers {
    const elements = this.elements(view);
    const n = sizeOf(view.shape);
    if (elements instanceof Float32Array || elements instanceof Float64Array) {
      if (isContiguous(view)) return elements.subarray(view.offset, view.offset + n);
    }
    const out = new Float64Array(n);
    const rowLength = view.shape.at(-1) ?? 1;
    const step = view.strides.at(-1) ?? 0;
    let i = 0;
    forEachRow(view, (at) => {
      for (let j = 0; j < rowLength; j++) out[i++] = elements[at + j * step];
    });
    if (view.dtype === 'bf16') for (i = 0; i < n; i++) out[i] = fromBf16(out[i]);
    if (view.dtype === 'f16') for (i = 0; i < n; i++) out[i] = fromF16(out[i]);
    return out;
  }

  /** Writes row-major values to the view, converted to its dtype. */
  store(view: View, values: ArrayLike<number>): void {
    const elements = this.elements(view);
    const { dtype } = view;
    if (dtype !== 'f32') values = encode(values, dtype);
    if (isContiguous(view)) {
      elements.set(values, view.offset);
      return;
    }
    const rowLength = view.shape.at(-1) ?? 1;
    const step = view.strides.at(-1) ?? 0;
    let i = 0;
    forEachRow(view, (at) => {
      for (let j = 0; j < rowLength; j++) elements[at + j * step] = values[i++];
    });
  }
}

export const sizeOf = (shape: readonly number[]): number => shape.reduce((n, size) => n * size, 1);

export function isContiguous({ shape, strides }: View): boolean {
  let expected = 1;
  for (let a = shape.length - 1; a >= 0; a--) {
    if (shape[a] !== 1 && strides[a] !== expected) return false;
    expected *= shape[a];
  }
  return true;
}

/** Calls `body` with the place of the first element of every row (last axis) of the view, in row-major order. */
export function forEachRow({ offset, shape, strides }: View, body: (at: number) => void): void {
  const rows = sizeOf(shape.slice(0, -1));
  const index = shape.map(() => 0);
  let at = offset;
  for (let row = 0; row < rows; row++) {
    body(at);
    for (let a = shape.length - 2; a >= 0; a--) {
      at += strides[a];
      if (++index[a] < shape[a]) break;
      at -= shape[a] * strides[a];
      index[a] = 0;
    }
  }
}

/** The same elements with the axes in another order. */
export const permuted = (view: View, axes: readonly number[]): View => ({
  buffer: view.buffer,
  offset: view.offset,
  dtype: view.dtype,
  shape: axes.map((a) => view.shape[a]),
  strides: axes.map((a) => view.strides[a]),
});

/** (R, C) of a view whose last axis is C. */
export function rowsOf({ shape }: View): { R: number; C: number } {
  return { R: sizeOf(shape.slice(0, -1)), C: shape.at(-1) ?? 1 };
}

function encode(values: ArrayLike<number>, dtype: 'bf16' | 'f16' | 'i32' | 'u8'): TypedData {
  const n = values.length;
  const out = dtype === 'i32' ? new Int32Array(n) : dtype === 'u8' ? new Uint8Array(n) : new Uint16Array(n);
  const convert = { bf16: toBf16, f16: toF16, i32: toI32, u8: toU8 }[dtype];
  for (let i = 0; i < n; i++) out[i] = convert(values[i]);
  return out;
}

/** NaN becomes 0, as in WebAssembly's saturating truncation. */
const saturate = (x: number, low: number, high: number): number =>
  Number.isNaN(x) ? 0 : roundEven(Math.min(Math.max(x, low), high));
const toI32 = (x: number): number => saturate(x, -(2 ** 31), 2 ** 31 - 1);
const toU8 = (x: number): number => saturate(x, 0, 255);
