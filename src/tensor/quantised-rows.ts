// Matrices of whole numbers: 32 neighbours of a row share one scale (a bf16), and a number is code·scale. A row is its codes, then its scales, little-endian.
//   8 bits: K codes −127 … 127; K is a multiple of 32.                                                     8.5 bits a number
//   4 bits: code + 8 in half a byte; byte j of 64 codes holds code j in its low half and code 32 + j in its high half.
//           K, a multiple of 32, is filled up to one of 64 with codes of zero.                             4.5 bits a number

/** Numbers that share a scale. */
export const BLOCK = 32;
export type Bits = 8 | 4;

/** Blocks of a row, and where its scales begin. */
export function rowLayout(bits: Bits, K: number): { blocks: number; codeBytes: number; bytes: number } {
  const filled = bits === 4 ? Math.ceil(K / 64) * 64 : K;
  const blocks = filled / BLOCK;
  const codeBytes = (filled * bits) / 8;
  return { blocks, codeBytes, bytes: codeBytes + 2 * blocks };
}

const single = new Float32Array(1);
const singleBits = new Uint32Array(single.buffer);
/** The upper half of x ≥ 0, rounded up: the largest number of a block never falls outside its codes. */
function bf16Above(x: number): number {
  single[0] = x;
  const half = singleBits[0] >>> 16;
  return singleBits[0] & 0xffff ? half + 1 : half;
}
function fromBf16(half: number): number {
  singleBits[0] = half << 16;
  return single[0];
}

/**
 * Rounds N rows of K numbers. 8 bits: scale = max|w|/127. 4 bits: of a few scales around max|w|/7.5, the one whose squared error is least; the largest
 * number may become −8·scale, so the scale may be negative. A NaN or ∞ makes its whole block NaN.
 * @throws RangeError when K is no multiple of 32
 */
export function quantiseRows(values: ArrayLike<number>, K: number, bits: Bits): Uint8Array {
  if (K % BLOCK !== 0)
    throw new RangeError(`quantise: rows of ${K} numbers cannot be cut into blocks of ${BLOCK}; keep this matrix as it is`);
  const N = values.length / K;
  const { blocks, codeBytes, bytes } = rowLayout(bits, K);
  const out = new Uint8Array(N * bytes);
  const code = new Int8Array(BLOCK);
  for (let n = 0; n < N; n++)
    for (let b = 0; b < blocks; b++) {
      const from = n * K + b * BLOCK;
      const inside = b * BLOCK < K;
      if (!inside) code.fill(0);
      const half = inside ? roundBlock(values, from, bits, code) : 0;
      const scaleAt = n * bytes + codeBytes + 2 * b;
      out[scaleAt] = half & 255;
      out[scaleAt + 1] = half >> 8;
      if (bits === 8) for (let i = 0; i < BLOCK; i++) out[n * bytes + b * BLOCK + i] = code[i];
      else {
        const at = n * bytes + (b >> 1) * BLOCK;
        const shift = (b & 1) * 4;
        for (let i = 0; i < BLOCK; i++) out[at + i] |= (code[i] + 8) << shift;
      }
    }
  return out;
}

/** Fills `code` and returns the scale's bits. */
function roundBlock(values: ArrayLike<number>, from: number, bits: Bits, code: Int8Array): number {
  let most = 0;
  let extreme = 0;
  for (let i = 0; i < BLOCK; i++) {
    const v = values[from + i];
    const size = Math.abs(v);
    if (!(size < Infinity)) return 0x7fc0; // NaN
    if (size > most) {
      most = size;
      extreme = v;
    }
  }
  code.fill(0);
  if (most < 1e-30) return 0;
  if (bits === 8) {
    const half = bf16Above(most / 127);
    const inverse = 1 / fromBf16(half);
    for (let i = 0; i < BLOCK; i++) code[i] = Math.round(values[from + i] * inverse);
    return half;
  }
  let bestHalf = 0;
  let least = Infinity;
  for (const steps of STEPS) {
    // The largest number becomes −steps: codes reach one further on that side.
    const sign = extreme > 0 ? 0x8000 : 0;
    const half = bf16Above(most / steps) | sign;
    const scale = fromBf16(half);
    const inverse = 1 / scale;
    let error = 0;
    for (let i = 0; i < BLOCK; i++) {
      const v = values[from + i];
      const off = v - scale * Math.max(-8, Math.min(7, Math.round(v * inverse)));
      error += off * off;
    }
    if (error < least) {
      least = error;
      bestHalf = half;
    }
  }
  const inverse = 1 / fromBf16(bestHalf);
  for (let i = 0; i < BLOCK; i++) code[i] = Math.max(-8, Math.min(7, Math.round(values[from + i] * inverse)));
  return bestHalf;
}
/** max|w|/scale, to choose from: beyond 8 the largest number is cut off, below it the largest code is not used. */
const STEPS = [8, 7.2, 8.8, 9.6];

/** The rows as numbers, K each. */
export function dequantiseRows(bytes: Uint8Array, K: number, bits: Bits): Float32Array {
  const layout = rowLayout(bits, K);
  const N = bytes.length / layout.bytes;
  const out = new Float32Array(N * K);
  for (let n = 0; n < N; n++)
    for (let k = 0; k < K; k++)
      out[n * K + k] = codeAt(bytes, n * layout.bytes, k, bits) * scaleAt(bytes, n * layout.bytes, k, layout);
  return out;
}
/** The code of number k of the row that begins at `row`. */
export function codeAt(bytes: Uint8Array, row: number, k: number, bits: Bits): number {
  if (bits === 8) return (bytes[row + k] << 24) >> 24;
  const byte = bytes[row + (k >> 6) * 32 + (k & 31)];
  return ((k & 32 ? byte >> 4 : byte) & 15) - 8;
}
/** The scale of its block. */
export function scaleAt(bytes: Uint8Array, row: number, k: number, { codeBytes }: { codeBytes: number }): number {
  const at = row + codeBytes + 2 * (k >> 5);
  return fromBf16(bytes[at] | (bytes[at + 1] << 8));
}
