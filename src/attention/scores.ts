// How well does a key answer a query? Each score is q (B, H, T, D), k (B, H, S, E) → (B, H, T, S); attention(q, k, v, { score }) takes any of them.
// A widths of the hidden layer

import { Linear } from '../nn/index.ts';
import { check, type Rng, Tensor } from '../tensor/index.ts';

export interface Score {
  forward(q: Tensor, k: Tensor): Tensor;
}

/** q·k. Luong et al. 2015, eq. 8 ("dot"). */
export const dotScore: Score = { forward: (q, k) => q.matmul(k.T) };

/** q·k / √D. Vaswani et al. 2017, eq. 1: what `attention` does when no score is given. */
export const scaledDotScore: Score = { forward: (q, k) => q.matmul(k.T).div(Math.sqrt(q.shape.at(-1)!)) };

/** qᵀ W k: queries and keys may differ in width. Luong et al. 2015, eq. 8 ("general"). */
export class GeneralScore implements Score {
  readonly weight: Tensor;

  constructor(dQuery: number, dKey: number, { std = 1 / Math.sqrt(dKey), rng }: { std?: number; rng: Rng }) {
    this.weight = Tensor.normal([dQuery, dKey], std, rng).asParameter();
  }
  forward(q: Tensor, k: Tensor): Tensor {
    return q.matmul(this.weight).matmul(k.T);
  }
}

/** vᵀ tanh(W₁ k + W₂ q): a small network compares each pair. Bahdanau et al. 2015, §A.1.2 (h is the key, s the query). */
export class AdditiveScore implements Score {
  readonly keyProj: Linear;
  readonly queryProj: Linear;
  readonly v: Tensor;

  constructor(dQuery: number, dKey: number, A: number, { rng }: { rng: Rng }) {
    this.keyProj = new Linear(dKey, A, { bias: false, std: 1 / Math.sqrt(dKey), rng });
    this.queryProj = new Linear(dQuery, A, { bias: false, std: 1 / Math.sqrt(dQuery), rng });
    this.v = Tensor.normal([A], 1 / Math.sqrt(A), rng).asParameter();
  }
  forward(q: Tensor, k: Tensor): Tensor {
    return pairScore(this.queryProj.forward(q), this.keyProj.forward(k), this.v);
  }
}

/** vᵀ tanh(W [q; k]). Luong et al. 2015, eq. 8 ("concat"). W [q; k] = W_q q + W_k k, so that no pair is ever written side by side. */
export class ConcatScore implements Score {
  readonly weight: Tensor;
  readonly v: Tensor;

  constructor(dQuery: number, dKey: number, A: number, { rng }: { rng: Rng }) {
    this.weight = Tensor.normal([A, dQuery + dKey], 1 / Math.sqrt(dQuery + dKey), rng).asParameter();
    this.v = Tensor.normal([A], 1 / Math.sqrt(A), rng).asParameter();
  }
  forward(q: Tensor, k: Tensor): Tensor {
    const [dQuery, dKey] = [q.shape.at(-1)!, k.shape.at(-1)!];
    check(
      this.weight.shape[1] === dQuery + dKey,
      () => `ConcatScore: the weight takes ${this.weight.shape[1]} channels, but query and key have ${dQuery} + ${dKey}`,
    );
    return pairScore(q.matmul(this.weight.slice(1, 0, dQuery).T), k.matmul(this.weight.slice(1, dQuery).T), this.v);
  }
}

/** vᵀ tanh(q + k) of every pair: q (B, H, T, A), k (B, H, S, A), v (A) → (B, H, T, S). Holds B·H·T·S·A numbers. */
function pairScore(q: Tensor, k: Tensor, v: Tensor): Tensor {
  const { B, H, T, A } = q.dims('B H T A');
  const { S } = k.dims('B H S A', { B, H, A });
  const hidden = q
    .reshape([B, H, T, 1, A])
    .add(k.reshape([B, H, 1, S, A]))
    .tanh(); // (B, H, T, S, A)
  return hidden.matmul(v.reshape([A, 1])).reshape([B, H, T, S]);
}
