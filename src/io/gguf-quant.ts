import { f16ToNumber, fromFloat32, numberToF16, toFloat32 } from './floats.ts';

// The block formats of GGUF: a run of values shares one or two scales. Layouts as in ggml's `block_q8_0`, `block_q4_0`, `block_q4_K`, `block_q6_K`.

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

const { fround } = Math;

/** f32 values → bytes of `type`; the number of values is a multiple of the block. */
export function quantize(type: WritableType, values: Float32Array): Uint8Array {
  if (type === 'F32' || type === 'F16' || type === 'BF16') return fromFloat32(type, values);
  const { values: block, bytes } = ggufTypes[type];
  if (values.length % block !== 0)
    throw new RangeError(`quantize: ${values.length} values are no multiple of ${block}, the block of ${type}`);
  const out = new Uint8Array((values.length / block) * bytes);
  const write = { Q8_0: writeQ8, Q4_0: writeQ4, Q4_K: writeQ4K }[type];
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

type ReadBlock = (from: Uint8Array, to: Float32Array) => void;

const readers: Partial<Record<GgufType, ReadBlock>> = {
  /** x = d · q, q in int8. */
  Q8_0(from, to) {
    const d = half(from, 0);
    for (let i = 0; i < 32; i++) to[i] = d * ((from[2 + i] << 24) >> 24);
  },
  /** x = d · (q − 8), q in 4 bits; the low halves of the bytes first. */
  Q4_0(from, to) {
    const d = half(from, 0);
    for (let i = 0; i < 16; i++) {
      to[i] = d * ((from[2 + i] & 15) - 8);
      to[i + 16] = d * ((from[2 + i] >> 4) - 8);
    }
  },
  /** x = d · q + m. */
  Q4_1(from, to) {
    const [d, m] = [half(from, 0), half(from, 2)];
    for (let i = 0; i < 16; i++) {
      to[i] = fround(d * (from[4 + i] & 15)) + m;
      to[i + 16] = fround(d * (from[4 + i] >> 4)) + m;
    }
  },
  /** x = (d · scaleₛ) · q − (dmin · minₛ) in eight sub-blocks s of 32; scales and minima in 6 bits. */
  Q4_K(from, to) {
    const [d, dmin] = [half(from, 0), half(from, 2)];
    for (let s = 0; s < 8; s++) {
      const [scale, min] = scaleAndMin(from, s);
      const [a, b] = [fround(d * scale), fround(dmin * min)];
      const shift = (s & 1) * 4;
      for (let i = 0; i < 32; i++) to[s * 32 + i] = fround(a * ((from[16 + (s >> 1) * 32 + i] >> shift) & 15)) - b;
    }
  },
  /** x = (d · scaleₛ) · (q − 32) in sixteen sub-blocks of 16; q in 4 + 2 bits, scales in int8. */
  Q6_K(from, to) {
    const d = half(from, 208);
    for (let n = 0; n < 2; n++) {
      for (let k = 0; k < 4; k++) {
        for (let i = 0; i < 32; i++) {
          const low = (from[n * 64 + (k & 1) * 32 + i] >> (k >> 1 ? 4 : 0)) & 15;
          const high = (from[128 + n * 32 + i] >> (2 * k)) & 3;
          const scale = (from[192 + n * 8 + 2 * k + (i >> 4)] << 24) >> 24;
          to[n * 128 + k * 32 + i] = fround(d * scale) * ((low | (high << 4)) - 32);
        }
      }
    }
  },
};

const half = (bytes: Uint8Array, at: number) => f16ToNumber(bytes[at] | (bytes[at + 1] << 8));

function putHalf(bytes: Uint8Array, at: number, value: number): void {
  const bits = numberToF16(value);
  bytes[at] = bits & 255;
  bytes[at + 1] = bits >> 8;
}

/** The 6-bit scale and minimum of sub-block `s`, from bytes 4–15 of a Q4_K block. */
function scaleAndMin(from: Uint8Array, s: number): [scale: number, min: number] {
  if (s < 4) return [from[4 + s] & 63, from[8 + s] & 63];
  return [(from[8 + s] & 15) | ((from[s] >> 6) << 4), (from[8 + s] >> 4) | ((from[4 + s] >> 6) << 4)];
}

/** d = max|x| / 127. */
function writeQ8(values: Float32Array, to: Uint8Array): void {
  let most = 0;
  for (const x of values) most = Math.max(most, Math.abs(x));
  const d = fround(most / 127);
  const inverse = d === 0 ? 0 : fround(1 / d);
  putHalf(to, 0, d);
  for (let i = 0; i < 32; i++) {
    const x = fround(values[i] * inverse);
    to[2 + i] = Math.sign(x) * Math.floor(Math.abs(x) + 0.5); // half away from zero, as C's roundf
  }
}

/** d = (the value of largest size) / −8, so that this value is exact. */
function writeQ4(values: Float32Array, to: Uint8Array): void {
  let most = 0;
  for (const x of values) if (Math.abs(x) > Math.abs(most)) most = x;
  const d = fround(most / -8);
  const inverse = d === 0 ? 0 : fround(1 / d);
  putHalf(to, 0, d);
  const q = (x: number) => Math.min(15, Math.trunc(fround(fround(x * inverse) + 8.5)));
  for (let i = 0; i < 16; i++) to[2 + i] = q(values[i]) | (q(values[i + 16]) << 4);
}

/** Plain minimum and maximum of each sub-block (ggml searches for better ones). */
function writeQ4K(values: Float32Array, to: Uint8Array): void {
  const scales: number[] = [];
  const mins: number[] = [];
  for (let s = 0; s < 8; s++) {
    const part = values.subarray(s * 32, s * 32 + 32);
    const min = Math.min(0, ...part);
    scales.push((Math.max(0, ...part) - min) / 15);
    mins.push(-min);
  }
  putHalf(to, 0, Math.max(...scales) / 63);
  putHalf(to, 2, Math.max(...mins) / 63);
  const [d, dmin] = [half(to, 0), half(to, 2)];
  const six = (x: number, unit: number) => (unit === 0 ? 0 : Math.min(63, Math.round(x / unit)));
  for (let s = 0; s < 8; s++) {
    const [scale, min] = [six(scales[s], d), six(mins[s], dmin)];
    if (s < 4) {
      to[4 + s] |= scale;
      to[8 + s] |= min;
    } else {
      to[8 + s] = (scale & 15) | ((min & 15) << 4);
      to[s] |= (scale >> 4) << 6;
      to[4 + s] |= (min >> 4) << 6;
    }
    const [a, b] = [d * scale, dmin * min];
    for (let i = 0; i < 32; i++) {
      const q = a === 0 ? 0 : Math.max(0, Math.min(15, Math.round((values[s * 32 + i] + b) / a)));
      to[16 + (s >> 1) * 32 + i] |= q << ((s & 1) * 4);
    }
  }
}
