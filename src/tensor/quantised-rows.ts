// Matrices of whole numbers: 32 neighbours of a row share one scale (a bf16), and a number is code·scale. Eight rows lie together, so that one vector holds
// the same columns of all of them. A group of eight rows is its scales, then its codes, little-endian, without a gap:
//   scales   block by block, the eight rows side by side
//   8 bits   block by block, 32 bytes for each four columns: byte 4·row + i is the code (−127 … 127) of column 4j + i               8.5 bits a number
//   4 bits   block by block, 32 bytes for each eight columns: in the low half of byte 4·row + i column 4j + i, in the high half
//            column 16 + 4j + i, as code + 8 with codes −8 … 7                                                                      4.5 bits a number
//   16 bits  no scales; 32 bytes for each two columns: a bf16 of every row's column 2j, each followed by that of column 2j + 1
// K is a multiple of 32; rows beyond N are zeros.

/** Numbers that share a scale, and rows that lie together. */
export const BLOCK = 32;
export const GROUP = 8;
export type Bits = 16 | 8 | 4;

/** Bytes of a group, and where its codes begin. */
export function groupLayout(bits: Bits, K: number): { codesAt: number; blockBytes: number; bytes: number } {
  const blocks = K / BLOCK;
  const codesAt = bits === 16 ? 0 : blocks * GROUP * 2;
  const blockBytes = GROUP * BLOCK * (bits / 8);
  return { codesAt, blockBytes, bytes: codesAt + blocks * blockBytes };
}
/** Where the scale and the code of row n, column k lie; of four bits, `shift` is 4 in the high half. */
function placeOf(bits: Bits, { codesAt, blockBytes, bytes }: ReturnType<typeof groupLayout>, n: number, k: number) {
  const group = (n >> 3) * bytes;
  const row = n & 7;
  if (bits === 16) return { scale: -1, code: group + (k >> 1) * 32 + 4 * row + 2 * (k & 1), shift: 0 };
  const block = k >> 5;
  const column = k & 31;
  const low = bits === 8 ? column : column & 15;
  return {
    scale: group + 2 * (block * GROUP + row),
    code: group + codesAt + block * blockBytes + (low >> 2) * 32 + 4 * row + (low & 3),
    shift: bits === 4 && column >= 16 ? 4 : 0,
  };
}

const single = new Float32Array(1);
const singleBits = new Uint32Array(single.buffer);
/** The upper half of x ≥ 0, rounded up: the largest number of a block never falls outside its codes. */
function bf16Above(x: number): number {
  single[0] = x;
  const half = singleBits[0] >>> 16;
  return singleBits[0] & 0xffff ? half + 1 : half;
}
/** Rounded to nearest, ties to even; NaN stays NaN. */
function nearestBf16(x: number): number {
  single[0] = x;
  const u = singleBits[0];
  if ((u & 0x7fffffff) > 0x7f800000) return (u >>> 16) | 0x40;
  return (u + 0x7fff + ((u >>> 16) & 1)) >>> 16;
}
function fromBf16(half: number): number {
  singleBits[0] = half << 16;
  return single[0];
}

/**
 * Rounds N rows of K numbers. 16 bits: to the nearest bf16. 8 bits: scale = max|w|/127. 4 bits: of a few scales around max|w|/8, the one whose squared error is least; the largest
 * number may become −8·scale, so the scale may be negative. A NaN or ∞ makes its whole block NaN.
 * @throws RangeError when K is no multiple of 32
 */
export function quantiseRows(values: ArrayLike<number>, K: number, bits: Bits): Uint8Array {
  if (K % BLOCK !== 0)
    throw new RangeError(`quantise: rows of ${K} numbers cannot be cut into blocks of ${BLOCK}; keep this matrix as it is`);
  const N = values.length / K;
  const { codesAt, blockBytes, bytes } = groupLayout(bits, K);
  const out = new Uint8Array(Math.ceil(N / GROUP) * bytes);
  if (bits === 16) {
    const layout = groupLayout(bits, K);
    for (let n = 0; n < N; n++)
      for (let k = 0; k < K; k++) {
        const { code } = placeOf(bits, layout, n, k);
        const half = nearestBf16(values[n * K + k]);
        out[code] = half & 255;
        out[code + 1] = half >> 8;
      }
    return out;
  }
  if (bits === 4) for (let at = 0; at < out.length; at += bytes) out.fill(0x88, at + codesAt, at + bytes); // codes of zero
  const code = new Int8Array(BLOCK);
  for (let n = 0; n < N; n++)
    for (let b = 0; b < K / BLOCK; b++) {
      const half = roundBlock(values, n * K + b * BLOCK, bits, code);
      const group = (n >> 3) * bytes;
      const row = n & 7;
      const scaleAt = group + 2 * (b * GROUP + row);
      out[scaleAt] = half & 255;
      out[scaleAt + 1] = half >> 8;
      const at = group + codesAt + b * blockBytes + 4 * row;
      if (bits === 8) for (let i = 0; i < BLOCK; i++) out[at + (i >> 2) * 32 + (i & 3)] = code[i];
      else for (let i = 0; i < 16; i++) out[at + (i >> 2) * 32 + (i & 3)] = (code[i] + 8) | ((code[16 + i] + 8) << 4);
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

/** Code and scale of row n, column k. */
export function numberAt(
  bytes: Uint8Array,
  layout: ReturnType<typeof groupLayout>,
  bits: Bits,
  n: number,
  k: number,
): { code: number; scale: number } {
  const at = placeOf(bits, layout, n, k);
  if (bits === 16) return { code: fromBf16(bytes[at.code] | (bytes[at.code + 1] << 8)), scale: 1 };
  const byte = bytes[at.code];
  return {
    code: bits === 8 ? (byte << 24) >> 24 : ((byte >> at.shift) & 15) - 8,
    scale: fromBf16(bytes[at.scale] | (bytes[at.scale + 1] << 8)),
  };
}

/** The first N rows as numbers, K each. */
export function dequantiseRows(bytes: Uint8Array, N: number, K: number, bits: Bits): Float32Array {
  const layout = groupLayout(bits, K);
  const out = new Float32Array(N * K);
  for (let n = 0; n < N; n++)
    for (let k = 0; k < K; k++) {
      const { code, scale } = numberAt(bytes, layout, bits, n, k);
      out[n * K + k] = code * scale;
    }
  return out;
}
