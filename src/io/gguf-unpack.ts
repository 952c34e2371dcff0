// Blocks of GGUF → numbers. Layouts as in ggml's `block_q8_0` … `block_q6_K`.

import { f16ToNumber } from './floats.ts';
import type { GgufType } from './gguf-quant.ts';

const { fround } = Math;

/** The values of one block. */
export type ReadBlock = (from: Uint8Array, to: Float32Array) => void;

export const readers: Partial<Record<GgufType, ReadBlock>> = {
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
  /** x = d · (q − 16), q in 4 + 1 bits: the fifth bits of all 32 stand together. */
  Q5_0(from, to) {
    const d = half(from, 0);
    for (let i = 0; i < 16; i++) {
      to[i] = d * (((from[6 + i] & 15) | (fifth(from, 2, i) << 4)) - 16);
      to[i + 16] = d * (((from[6 + i] >> 4) | (fifth(from, 2, i + 16) << 4)) - 16);
    }
  },
  /** x = d · q + m. */
  Q5_1(from, to) {
    const [d, m] = [half(from, 0), half(from, 2)];
    for (let i = 0; i < 16; i++) {
      to[i] = fround(d * ((from[8 + i] & 15) | (fifth(from, 4, i) << 4))) + m;
      to[i + 16] = fround(d * ((from[8 + i] >> 4) | (fifth(from, 4, i + 16) << 4))) + m;
    }
  },
  /** x = (d · scaleₛ) · q − (dmin · minₛ) in sixteen sub-blocks of 16; q in 2 bits, scales and minima in 4. */
  Q2_K(from, to) {
    const [d, dmin] = [half(from, 80), half(from, 82)];
    for (let s = 0; s < 16; s++) {
      const [a, b] = [fround(d * (from[s] & 15)), fround(dmin * (from[s] >> 4))];
      const [byte, shift] = [16 + (s >> 3) * 32 + (s & 1) * 16, ((s >> 1) & 3) * 2];
      for (let i = 0; i < 16; i++) to[s * 16 + i] = fround(a * ((from[byte + i] >> shift) & 3)) - b;
    }
  },
  /** x = (d · (scaleₛ − 32)) · q in sixteen sub-blocks of 16; q in 2 + 1 bits from −4, scales in 6. */
  Q3_K(from, to) {
    const d = half(from, 108);
    for (let s = 0; s < 16; s++) {
      const low = s < 8 ? from[96 + s] & 15 : from[96 + s - 8] >> 4;
      const scale = (low | (((from[104 + (s & 3)] >> (2 * (s >> 2))) & 3) << 4)) - 32;
      const a = fround(d * scale);
      const [at, shift] = [(s & 1) * 16, ((s >> 1) & 3) * 2];
      for (let i = 0; i < 16; i++) {
        const two = (from[32 + (s >> 3) * 32 + at + i] >> shift) & 3;
        to[s * 16 + i] = a * (two - ((from[at + i] >> (s >> 1)) & 1 ? 0 : 4));
      }
    }
  },
  /** As Q4_K with a fifth bit: bit s of byte i for value i of sub-block s. */
  Q5_K(from, to) {
    const [d, dmin] = [half(from, 0), half(from, 2)];
    for (let s = 0; s < 8; s++) {
      const [scale, min] = scaleAndMin(from, s);
      const [a, b] = [fround(d * scale), fround(dmin * min)];
      for (let i = 0; i < 32; i++) {
        const q = ((from[48 + (s >> 1) * 32 + i] >> ((s & 1) * 4)) & 15) | (((from[16 + i] >> s) & 1) << 4);
        to[s * 32 + i] = fround(a * q) - b;
      }
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

export const half = (bytes: Uint8Array, at: number) => f16ToNumber(bytes[at] | (bytes[at + 1] << 8));

/** Bit i of the 32 bits at `at`. */
const fifth = (from: Uint8Array, at: number, i: number): number => (from[at + (i >> 3)] >> (i & 7)) & 1;

/** The 6-bit scale and minimum of sub-block `s`, from bytes 4–15 of a Q4_K block. */
function scaleAndMin(from: Uint8Array, s: number): [scale: number, min: number] {
  if (s < 4) return [from[4 + s] & 63, from[8 + s] & 63];
  return [(from[8 + s] & 15) | ((from[s] >> 6) << 4), (from[8 + s] >> 4) | ((from[4 + s] >> 6) << 4)];
}
