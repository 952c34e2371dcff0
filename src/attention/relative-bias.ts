// Positions as a bias on the scores: what counts is how far the key lies from the query.
// H heads · T queries · S keys; query t stands at place t + S − T

import { type Rng, Tensor } from '../tensor/index.ts';

/** Anything that adds (1, H, T, S) to the scores. */
export interface PositionBias {
  bias(T: number, S: number): Tensor;
}

/**
 * mₕ = 2^(−8h/H), h = 1 … H, when H is a power of two. Otherwise those of the next smaller power, then every other one of the next larger.
 * Press et al. 2021, §3 and their code.
 */
export function alibiSlopes(H: number): number[] {
  const power = 2 ** Math.floor(Math.log2(H));
  const slopes = (n: number): number[] => Array.from({ length: n }, (_, i) => 2 ** ((-8 * (i + 1)) / n));
  return [...slopes(power), ...slopes(2 * power).filter((_, i) => i % 2 === 0)].slice(0, H);
}

/**
 * Attention with linear biases: −mₕ · |place − key|. Nothing is learned, and texts longer than those of the training keep their meaning.
 * The last bias made is kept, since every layer and every step of a training ask for the same one.
 */
export class Alibi implements PositionBias, Disposable {
  readonly #slopes: number[];
  #held: Tensor | undefined;

  constructor(H: number) {
    this.#slopes = alibiSlopes(H);
  }
  bias(T: number, S: number): Tensor {
    if (this.#held?.shape[2] !== T || this.#held.shape[3] !== S) {
      this[Symbol.dispose]();
      const H = this.#slopes.length;
      const values = new Float32Array(H * T * S);
      let at = 0;
      for (const slope of this.#slopes)
        for (let t = 0; t < T; t++) for (let s = 0; s < S; s++) values[at++] = -slope * Math.abs(t + S - T - s);
      this.#held = Tensor.from(values, [1, H, T, S]).asParameter().freeze();
    }
    return this.#held!;
  }
  [Symbol.dispose](): void {
    this.#held?.free('its ALiBi was disposed of, or asked for another length');
    this.#held = undefined;
  }
}

export interface BucketOptions {
  /** An encoder: half of the buckets are for keys to the right. A decoder puts all of those into bucket 0. */
  bidirectional?: boolean;
  nBuckets?: number;
  /** All farther keys share the last bucket. */
  maxDistance?: number;
}

/**
 * The bucket of a key at `distance` = key − query: one for each near distance, then wider and wider (logarithmic) ones. Raffel et al. 2019, §2.1.
 */
export function relativeBucket(
  distance: number,
  { bidirectional = true, nBuckets = 32, maxDistance = 128 }: BucketOptions = {},
): number {
  const n = bidirectional ? Math.floor(nBuckets / 2) : nBuckets;
  const first = bidirectional && distance > 0 ? n : 0;
  const far = bidirectional ? Math.abs(distance) : Math.max(-distance, 0);
  const exact = Math.floor(n / 2);
  if (far < exact) return first + far;
  const wide = exact + Math.floor((Math.log(far / exact) / Math.log(maxDistance / exact)) * (n - exact));
  return first + Math.min(wide, n - 1);
}

/** T5's relative positions: one learned number for each bucket and head, shared by all layers. */
export class RelativeBias implements PositionBias {
  readonly weight: Tensor;
  readonly #o: BucketOptions;

  constructor(H: number, { std = 0.02, rng, ...o }: BucketOptions & { std?: number; rng: Rng }) {
    this.weight = Tensor.normal([o.nBuckets ?? 32, H], std, rng).asParameter();
    this.#o = o;
  }
  bias(T: number, S: number): Tensor {
    const { buckets } = this.#bucketsOf(T, S);
    return this.weight.rows(buckets, [1, T, S]).permute([0, 3, 1, 2]); // (1, H, T, S)
  }
  #held: { T: number; S: number; buckets: Int32Array } | undefined;
  #bucketsOf(T: number, S: number) {
    if (this.#held?.T !== T || this.#held.S !== S) {
      const buckets = new Int32Array(T * S);
      for (let t = 0; t < T; t++) for (let s = 0; s < S; s++) buckets[t * S + s] = relativeBucket(s - (t + S - T), this.#o);
      this.#held = { T, S, buckets };
    }
    return this.#held;
  }
}
