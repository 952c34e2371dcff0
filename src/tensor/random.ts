/**
 * Counter-based random numbers: element i of stream `seed` is a pure function of (seed, i), so that no state has to be saved and every backend
 * draws the same bits. The mixer is lowbias32 applied to a key and a counter.
 *
 *   mix(x):  x ^= x >>> 16;  x *= 0x21f0aaad;  x ^= x >>> 15;  x *= 0x735a2d97;  x ^= x >>> 15          (uint32, Wellons 2018, "lowbias32" constants of 2022)
 *   bits(seed, i) = mix( mix( lo(i) ^ mix(lo(seed)) ) + hi(i)·0x9e3779b9 + mix(hi(seed) ^ 0x85ebca6b) )
 *   uniform(seed, i) = (bits >>> 8) · 2⁻²⁴  ∈ [0, 1)                      exact in f32
 *   normal(seed, i)  = √(−2 ln(1 − u₁)) · cos(2π u₂),  u₁ = uniform(seed, 2i), u₂ = uniform(seed, 2i + 1)    Box & Muller 1958
 *   dropout keeps element i  ⇔  uniform(seed, i) ≥ p
 * lo and hi are the low and high 32 bits of an integer < 2⁵³.
 */
function mix(x: number): number {
  x ^= x >>> 16;
  x = Math.imul(x, 0x21f0aaad);
  x ^= x >>> 15;
  x = Math.imul(x, 0x735a2d97);
  return (x ^ (x >>> 15)) >>> 0;
}

const high = (x: number): number => Math.floor(x / 2 ** 32) >>> 0;

export function bits(seed: number, i: number): number {
  const inner = mix((i >>> 0) ^ mix(seed >>> 0));
  return mix((inner + Math.imul(high(i), 0x9e3779b9) + mix(high(seed) ^ 0x85ebca6b)) >>> 0);
}

export const uniform = (seed: number, i: number): number => (bits(seed, i) >>> 8) * 2 ** -24;

export const normal = (seed: number, i: number): number =>
  Math.sqrt(-2 * Math.log(1 - uniform(seed, 2 * i))) * Math.cos(2 * Math.PI * uniform(seed, 2 * i + 1));

/** A stream of draws with a place in it. `seed` and `at` are all of its state. */
export class Rng {
  /** For weights that will be overwritten: `Tensor.normal` draws nothing, and takes its memory when it is first written. */
  static readonly none = new Rng(0);
  at = 0;
  constructor(readonly seed = 1) {}
  uniform(): number {
    return uniform(this.seed, this.at++);
  }
  normal(): number {
    return normal(this.seed, this.at++);
  }
  /** A whole number in 0 … n − 1. */
  int(n: number): number {
    return Math.floor(this.uniform() * n);
  }
  /** A new seed (< 2⁵³) for an independent stream. */
  fork(): number {
    const hi = bits(this.seed, this.at++) & 0x1fffff;
    return hi * 2 ** 32 + bits(this.seed, this.at++);
  }
}
