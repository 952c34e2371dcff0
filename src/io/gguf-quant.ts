import { fromFloat32, toFloat32 } from './floats.ts';
import { readers } from './gguf-unpack.ts';
import { writers } from './gguf-pack.ts';

// The block formats of GGUF: a run of values shares one or two scales. gguf-unpack.ts reads them, gguf-pack.ts writes some.

/** Type number in the file, values in a block, bytes of a block. */
export const ggufTypes = {
  F32: { id: 0, values: 1, bytes: 4 },
  F16: { id: 1, values: 1, bytes: 2 },
  Q4_0: { id: 2, values: 32, bytes: 18 },
  Q4_1: { id: 3, values: 32, bytes: 20 },
  Q5_0: { id: 6, values: 32, bytes: 22 },
  Q5_1: { id: 7, values: 32, bytes: 24 },
  Q8_0: { id: 8, values: 32, bytes: 34 },
  Q2_K: { id: 10, values: 256, bytes: 84 },
  Q3_K: { id: 11, values: 256, bytes: 110 },
  Q4_K: { id: 12, values: 256, bytes: 144 },
  Q5_K: { id: 13, values: 256, bytes: 176 },
  Q6_K: { id: 14, values: 256, bytes: 210 },
  I8: { id: 24, values: 1, bytes: 1 },
  I16: { id: 25, values: 1, bytes: 2 },
  I32: { id: 26, values: 1, bytes: 4 },
  I64: { id: 27, values: 1, bytes: 8 },
  F64: { id: 28, values: 1, bytes: 8 },
  BF16: { id: 30, values: 1, bytes: 2 },
} as const;

export type GgufType = keyof typeof ggufTypes;
/** Types that `quantize` writes. */
export type WritableType = 'F32' | 'F16' | 'BF16' | 'Q8_0' | 'Q4_0' | 'Q4_K';

/** f32 values → bytes of `type`; the number of values is a multiple of the block. */
export function quantize(type: WritableType, values: Float32Array): Uint8Array {
  if (type === 'F32' || type === 'F16' || type === 'BF16') return fromFloat32(type, values);
  const { values: block, bytes } = ggufTypes[type];
  if (values.length % block !== 0)
    throw new RangeError(`quantize: ${values.length} values are no multiple of ${block}, the block of ${type}`);
  const out = new Uint8Array((values.length / block) * bytes);
  const write = writers[type];
  for (let b = 0; b * block < values.length; b++)
    write(values.subarray(b * block, (b + 1) * block), out.subarray(b * bytes, (b + 1) * bytes));
  return out;
}

/** Bytes of `type` → f32 values. @throws TypeError for a type that this reader does not know the inside of */
export function dequantize(type: GgufType, bytes: Uint8Array): Float32Array {
  if (type === 'F32' || type === 'F16' || type === 'BF16' || type === 'F64') return toFloat32(type, bytes);
  const read = readers[type];
  if (!read)
    throw new TypeError(
      `dequantize: ${type} cannot be turned into numbers\n  known: F32 F16 BF16 F64 ${Object.keys(readers).join(' ')}`,
    );
  const { values: block, bytes: size } = ggufTypes[type];
  const out = new Float32Array((bytes.length / size) * block);
  for (let b = 0; b * size < bytes.length; b++)
    read(bytes.subarray(b * size, (b + 1) * size), out.subarray(b * block, (b + 1) * block));
  return out;
}
