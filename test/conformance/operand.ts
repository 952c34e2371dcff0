// Tensors of a case: a block of raw elements, and windows on it. Whatever lies outside the windows is a trap: NaN where it is only read, and
// checked afterwards everywhere, so that a kernel that reads or writes past its view is found.

import type { Backend, View } from '../../src/tensor/backends/backend.ts';
import type { TypedData } from '../../src/tensor/backends/backend.ts';
import { bytesPerElement, type DType } from '../../src/tensor/dtype.ts';
import { fromBf16, fromF16, toBf16, toF16 } from '../../src/tensor/backends/reference/half.ts';
import { forEachRow, sizeOf } from '../../src/tensor/backends/reference/view.ts';

export interface Block {
  dtype: DType;
  data: TypedData;
}

export interface Operand {
  block: Block;
  offset: number;
  shape: readonly number[];
  strides: readonly number[];
}

export const dataOf = { f32: Float32Array, bf16: Uint16Array, f16: Uint16Array, i32: Int32Array, u8: Uint8Array } as const;

export const encode: Record<DType, (x: number) => number> = {
  f32: (x) => x,
  bf16: toBf16,
  f16: toF16,
  i32: (x) => x,
  u8: (x) => x,
};
export const decode: Record<DType, (raw: number) => number> = {
  f32: (x) => x,
  bf16: fromBf16,
  f16: fromF16,
  i32: (x) => x,
  u8: (x) => x,
};

/** A block whose every element is the trap of its dtype: NaN, or a whole number that is a valid id. */
export function trap(dtype: DType, length: number): Block {
  const data = new dataOf[dtype](length);
  data.fill(dtype === 'i32' || dtype === 'u8' ? 1 : encode[dtype](Number.NaN));
  return { dtype, data };
}

/** Places in the block of all elements, row-major. */
export function places({ offset, shape, strides }: Operand): Int32Array {
  const out = new Int32Array(sizeOf(shape));
  const rowLength = shape.at(-1) ?? 1;
  const step = strides.at(-1) ?? 0;
  let i = 0;
  forEachRow({ offset, shape, strides } as View, (at) => {
    for (let j = 0; j < rowLength; j++) out[i++] = at + j * step;
  });
  return out;
}

/** Writes value(i), element i in row-major order. */
export function put(operand: Operand, value: (i: number) => number): void {
  const { dtype, data } = operand.block;
  places(operand).forEach((place, i) => {
    data[place] = encode[dtype](value(i));
  });
}

/** The numbers, row-major, of the operand in `data` (its own block's, or what a backend made of it). */
export function numbers(operand: Operand, data: TypedData = operand.block.data): Float64Array {
  return Float64Array.from(places(operand), (place) => decode[operand.block.dtype](data[place]));
}

export interface Problem {
  inputs: readonly (Operand | undefined)[];
  outputs: readonly (Operand | undefined)[];
}

export const blocksOf = ({ inputs, outputs }: Problem): Block[] => [
  ...new Set([...inputs, ...outputs].flatMap((operand) => (operand ? [operand.block] : []))),
];

/** Copies the blocks to the backend, calls `kernel` on the views, and brings all blocks back. */
export async function execute(
  backend: Backend,
  problem: Problem,
  kernel: (inputs: (View | undefined)[], outputs: (View | undefined)[]) => void,
): Promise<Map<Block, TypedData>> {
  const whole = new Map<Block, View>();
  for (const block of blocksOf(problem)) {
    const { dtype, data } = block;
    const buffer = backend.alloc(data.length * bytesPerElement[dtype]);
    const view = { buffer, offset: 0, shape: [data.length], strides: [1], dtype };
    backend.write(view, data);
    whole.set(block, view);
  }
  const viewOf = (operand: Operand | undefined): View | undefined =>
    operand && {
      buffer: whole.get(operand.block)!.buffer,
      dtype: operand.block.dtype,
      offset: operand.offset,
      shape: operand.shape,
      strides: operand.strides,
    };
  try {
    kernel(problem.inputs.map(viewOf), problem.outputs.map(viewOf));
    const results = new Map<Block, TypedData>();
    for (const [block, view] of whole) results.set(block, await backend.read(view));
    return results;
  } finally {
    for (const { buffer } of whole.values()) backend.free(buffer);
  }
}
