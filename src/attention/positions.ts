// Attention by itself does not know the order of its tokens. Absolute positions are added to the embeddings, here; rotary.ts turns queries and
// keys; relative-bias.ts adds to the scores. A model may also have none: a causal mask alone tells how many tokens came before (Kazemnejad et al. 2023).
// T tokens · C channels

import { check, type Rng, Tensor } from '../tensor/index.ts';

/**
 * PE(t, 2i) = sin(t · base^(−2i/C)),  PE(t, 2i + 1) = cos(t · base^(−2i/C)).  → (T, C).  Vaswani et al. 2017, §3.5.
 * For every k there is a rotation R_k with PE(t + k) = R_k PE(t), the same for all t: distance is a linear thing.
 */
export function sinusoidalPositions(T: number, C: number, { base = 10_000, start = 0 } = {}): Tensor {
  check(C % 2 === 0, `sinusoidalPositions: C (${C}) must be even: each frequency takes a sine and a cosine`);
  const values = new Float32Array(T * C);
  for (let t = 0; t < T; t++) {
    for (let i = 0; i < C / 2; i++) {
      const angle = (start + t) * base ** ((-2 * i) / C);
      values[t * C + 2 * i] = Math.sin(angle);
      values[t * C + 2 * i + 1] = Math.cos(angle);
    }
  }
  return Tensor.from(values, [T, C]);
}

/** One learned row a place. Places beyond the table are refused: nothing was learned for them. Gehring et al. 2017, §3.1. */
export class LearnedPositions {
  readonly weight: Tensor;

  constructor(length: number, C: number, { std = 0.02, rng }: { std?: number; rng: Rng }) {
    this.weight = Tensor.normal([length, C], std, rng).asParameter();
  }
  /** The rows of places start … start + T − 1, (T, C): a view. */
  forward(T: number, start = 0): Tensor {
    const length = this.weight.shape[0];
    check(
      start + T <= length,
      () =>
        `LearnedPositions: places ${start} … ${start + T - 1} were asked for, but the table ends at ${length - 1}. Cut the text, or use rotary positions or ALiBi`,
    );
    return this.weight.slice(0, start, start + T);
  }
}
