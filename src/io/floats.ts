import type { SafetensorsDtype } from './safetensors-header.ts';

// Numbers as files hold them (little-endian f16, bf16, f32, f64) to f32 and back.

const word = new Uint32Array(1);
const single = new Float32Array(word.buffer);

/** IEEE 754 binary16 → number: (−1)ˢ · 2^(e−15) · (1 + m / 1024); e = 0 subnormal, e = 31 infinity or NaN. */
export function f16ToNumber(bits: number): number {
  const exponent = (bits >> 10) & 31;
  const mantissa = bits & 1023;
  const size =
    exponent === 0
      ? mantissa * 2 ** -24
      : exponent < 31
        ? 2 ** (exponent - 15) * (1 + mantissa / 1024)
        : mantissa
          ? Number.NaN
          : Number.POSITIVE_INFINITY;
  return bits & 0x8000 ? -size : size;
}

/** f32 → nearest binary16, ties to even; above 65,504 by half a step or more: infinity. */
export function numberToF16(value: number): number {
  single[0] = value;
  const bits = word[0];
  const sign = (bits >>> 16) & 0x8000;
  const rest = bits & 0x7fffffff;
  if (rest > 0x7f800000) return sign | 0x7e00; // NaN
  if (rest >= 0x477ff000) return sign | 0x7c00; // 65,520 and more
  if (rest >= 0x38800000) return sign | ((rest - 0x38000000 + 0xfff + ((rest >>> 13) & 1)) >>> 13);
  // Subnormal: the multiple of 2⁻²⁴ that is nearest; adding 0.5 aligns it to the last bit of a float, which rounds to even.
  word[0] = rest;
  single[0] = single[0] + 0.5;
  return sign | (word[0] - 0x3f000000);
}

/** f32 → nearest bfloat16 (the upper half of an f32), ties to even. */
export function numberToBf16(value: number): number {
  single[0] = value;
  const bits = word[0];
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 0x40;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

/** Dtypes that `toFloat32` and `fromFloat32` know. */
export type FloatDtype = Extract<SafetensorsDtype, 'F16' | 'BF16' | 'F32' | 'F64'>;

/** Values of a tensor as f32. @throws TypeError for a dtype that is not floating */
export function toFloat32(dtype: SafetensorsDtype, bytes: Uint8Array): Float32Array {
  const { buffer, byteOffset, byteLength } = bytes;
  if (dtype === 'F32') return new Float32Array(aligned(bytes, 4), byteOffset % 4 === 0 ? byteOffset : 0, byteLength / 4);
  if (dtype === 'F64')
    return Float32Array.from(new Float64Array(aligned(bytes, 8), byteOffset % 8 === 0 ? byteOffset : 0, byteLength / 8));
  if (dtype === 'F16' || dtype === 'BF16') {
    const view = new DataView(buffer, byteOffset, byteLength);
    const values = new Float32Array(byteLength / 2);
    const words = new Uint32Array(values.buffer);
    if (dtype === 'BF16') for (let i = 0; i < values.length; i++) words[i] = view.getUint16(2 * i, true) << 16;
    else for (let i = 0; i < values.length; i++) values[i] = f16ToNumber(view.getUint16(2 * i, true));
    return values;
  }
  throw new TypeError(`toFloat32: ${dtype} is not a floating type\n  known: F16, BF16, F32, F64`);
}

const aligned = ({ buffer, byteOffset, byteLength }: Uint8Array, width: number): ArrayBufferLike =>
  byteOffset % width === 0 ? buffer : buffer.slice(byteOffset, byteOffset + byteLength);

/** f32 values as the bytes of a tensor; f32 itself is a view, not a copy. */
export function fromFloat32(dtype: FloatDtype, values: Float32Array): Uint8Array {
  if (dtype === 'F32') return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  if (dtype === 'F64') return new Uint8Array(Float64Array.from(values).buffer);
  const narrow = dtype === 'F16' ? numberToF16 : numberToBf16;
  return new Uint8Array(Uint16Array.from(values, narrow).buffer);
}
