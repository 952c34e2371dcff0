// Numbers → blocks of GGUF. Q8_0 and Q4_0 byte for byte as ggml's reference; Q4_K by a search of our own for the scales.

import { numberToF16 } from './floats.ts';
import { half } from './gguf-unpack.ts';

const { fround } = Math;

/** Writes one block of values into `to`, which is zero. */
type WriteBlock = (values: Float32Array, to: Uint8Array) => void;

export const writers = { Q8_0: writeQ8, Q4_0: writeQ4, Q4_K: writeQ4K } satisfies Record<string, WriteBlock>;

function putHalf(bytes: Uint8Array, at: number, value: number): void {
  const bits = numberToF16(value);
  bytes[at] = bits & 255;
  bytes[at + 1] = bits >> 8;
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

/** A line x ≈ a·q − b through 32 values. */
interface Line {
  a: number;
  b: number;
  error: number;
}

/**
 * Eight sub-blocks of 32: x ≈ (d · scaleₛ) · q − (dmin · minₛ). Of each sub-block the line with the smallest weighted error is searched for, then
 * its two numbers are rounded to 6 bits, and of the neighbours of that rounding the best is taken.
 */
function writeQ4K(values: Float32Array, to: Uint8Array): void {
  const parts = Array.from({ length: 8 }, (_, s) => values.subarray(s * 32, s * 32 + 32));
  const weights = parts.map(weightsOf);
  const lines = parts.map((part, s) => bestLine(part, weights[s]));
  putHalf(to, 0, Math.max(...lines.map((l) => l.a)) / 63);
  putHalf(to, 2, Math.max(...lines.map((l) => l.b)) / 63);
  const [d, dmin] = [half(to, 0), half(to, 2)];
  for (let s = 0; s < 8; s++) {
    const [scale, min] = roundedLine(parts[s], weights[s], lines[s], d, dmin);
    if (s < 4) {
      to[4 + s] |= scale;
      to[8 + s] |= min;
    } else {
      to[8 + s] = (scale & 15) | ((min & 15) << 4);
      to[s] |= (scale >> 4) << 6;
      to[4 + s] |= (min >> 4) << 6;
    }
    const [a, b] = [d * scale, dmin * min];
    for (let i = 0; i < 32; i++) to[16 + (s >> 1) * 32 + i] |= nearestStep(parts[s][i], a, b) << ((s & 1) * 4);
  }
}

/** Large values count more: a matrix product feels them. */
function weightsOf(x: Float32Array): Float32Array {
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += x[i] * x[i];
  const size = Math.sqrt(sum / x.length);
  const weights = new Float32Array(x.length);
  for (let i = 0; i < x.length; i++) weights[i] = size + Math.abs(x[i]);
  return weights;
}

/** The one of 16 steps a·q − b nearest to x. */
const nearestStep = (x: number, a: number, b: number): number =>
  a === 0 ? 0 : Math.max(0, Math.min(15, Math.floor((x + b) / a + 0.5)));

/** Tries ranges a little narrower and wider than that of the values; for each, the steps decide the line by least squares. */
function bestLine(x: Float32Array, w: Float32Array): Line {
  let [min, max] = [0, 0];
  for (let i = 0; i < x.length; i++) {
    if (x[i] < min) min = x[i];
    if (x[i] > max) max = x[i];
  }
  if (max === min) return { a: 0, b: 0, error: 0 };
  let best: Line = { a: (max - min) / 15, b: -min, error: Number.POSITIVE_INFINITY };
  for (let k = -9; k <= 9; k += 3) {
    const line = leastSquares(x, w, (15 + k / 5) / (max - min), -min);
    if (line.error < best.error) best = line;
  }
  return best;
}

/** With q = the steps of the line of slope 1/`inverse` through −b: the (a′, b′ ≥ 0) that minimise Σ w (a′q − b′ − x)², and that sum. */
function leastSquares(x: Float32Array, w: Float32Array, inverse: number, b: number): Line {
  let sw = 0;
  let sq = 0;
  let sqq = 0;
  let sx = 0;
  let sqx = 0;
  let sxx = 0;
  for (let i = 0; i < 32; i++) {
    let q = ((x[i] + b) * inverse + 0.5) | 0; // x + b ≥ 0
    if (q > 15) q = 15;
    const wi = w[i];
    const xi = x[i];
    sw += wi;
    sq += wi * q;
    sqq += wi * q * q;
    sx += wi * xi;
    sqx += wi * q * xi;
    sxx += wi * xi * xi;
  }
  const det = sw * sqq - sq * sq;
  if (det <= 0) return { a: 0, b: 0, error: Number.POSITIVE_INFINITY };
  let [a2, b2] = [(sw * sqx - sq * sx) / det, (sq * sqx - sqq * sx) / det];
  if (b2 < 0) [a2, b2] = [sqx / sqq, 0];
  if (!(a2 > 0)) return { a: 0, b: 0, error: Number.POSITIVE_INFINITY };
  return { a: a2, b: b2, error: a2 * a2 * sqq - 2 * a2 * b2 * sq + b2 * b2 * sw - 2 * a2 * sqx + 2 * b2 * sx + sxx };
}

/** Σ w (a·q − b − x)² with the nearest steps q. */
function errorOf(x: Float32Array, w: Float32Array, a: number, b: number): number {
  const inverse = a === 0 ? 0 : 1 / a;
  let sum = 0;
  for (let i = 0; i < 32; i++) {
    const place = (x[i] + b) * inverse + 0.5;
    const q = place < 0 ? 0 : place >= 15 ? 15 : place | 0;
    const off = a * q - b - x[i];
    sum += w[i] * off * off;
  }
  return sum;
}

/** The 6-bit scale and minimum: the rounded ones, or a neighbour that errs less. */
function roundedLine(x: Float32Array, w: Float32Array, { a, b }: Line, d: number, dmin: number): [scale: number, min: number] {
  const six = (v: number, unit: number): number => (unit === 0 ? 0 : Math.max(0, Math.min(63, Math.round(v / unit))));
  const [scale, min] = [six(a, d), six(b, dmin)];
  let best: [number, number] = [scale, min];
  let least = Number.POSITIVE_INFINITY;
  for (let s = Math.max(0, scale - 1); s <= Math.min(63, scale + 1); s++) {
    for (let m = Math.max(0, min - 1); m <= Math.min(63, min + 1); m++) {
      const error = errorOf(x, w, d * s, dmin * m);
      if (error < least) [best, least] = [[s, m], error];
    }
  }
  return best;
}
