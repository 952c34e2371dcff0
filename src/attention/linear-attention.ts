// Attention without softmax: the similarity φ(q)·φ(k) is a product of features, so that the sum over the past is a state of fixed size,
// and a decoder becomes a recurrent network. Katharopoulos et al. 2020.
// B batch · H heads · T queries · S keys · D head channels · E value channels

import { check, Tensor } from '../tensor/index.ts';
import { causalMask } from './masks.ts';

/** φ(x) = elu(x) + 1 > 0: x + 1 right of zero, eˣ left of it. Katharopoulos et al. 2020, eq. 7. */
export const linearFeatures = (x: Tensor): Tensor => x.relu().add(x.minimum(0).exp());

/** Keeps the quotient finite where all features vanish. */
const EPS = 1e-6;

/**
 * yₜ = Σₛ φ(qₜ)·φ(kₛ) vₛ / Σₛ φ(qₜ)·φ(kₛ).  q (B, H, T, D), k (B, H, S, D), v (B, H, S, E) → (B, H, T, E).
 * Everything seen: φ(Q) (φ(K)ᵀ V), cost T·D·E instead of T·S·D (eqs. 5, 6). Causal: the sum over s ≤ t, in parallel, which needs the T×S products.
 */
export function linearAttention(q: Tensor, k: Tensor, v: Tensor, { causal = false } = {}): Tensor {
  const [fq, fk] = [linearFeatures(q), linearFeatures(k)];
  if (!causal) {
    const values = fq.matmul(fk.T.matmul(v)); // (B, H, T, E)
    const total = fq.matmul(fk.sum({ axis: 2, keepDims: true }).T); // (B, H, T, 1)
    return values.div(total.add(EPS));
  }
  const [T, S] = [q.shape[2], k.shape[2]];
  const products = fq.matmul(fk.T).mul(causalMask(T, S).exp()); // (B, H, T, S): e⁰ = 1 where allowed, e^−∞ = 0
  return products.matmul(v).div(products.sum({ axis: -1, keepDims: true }).add(EPS));
}

/**
 * The same, token by token: the memory is S = Σ φ(kₛ) vₛᵀ and z = Σ φ(kₛ), whatever the length of the text (eqs. 16–20).
 *   Sₜ = Sₜ₋₁ + φ(kₜ) vₜᵀ,  zₜ = zₜ₋₁ + φ(kₜ),  yₜ = φ(qₜ)ᵀ Sₜ / φ(qₜ)·zₜ
 */
export class LinearAttentionState {
  memory: Tensor; // (B, H, D, E)
  total: Tensor; // (B, H, 1, D)

  constructor(B: number, H: number, D: number, E: number) {
    this.memory = Tensor.zeros([B, H, D, E]);
    this.total = Tensor.zeros([B, H, 1, D]);
  }
  /** One token: q, k (B, H, 1, D), v (B, H, 1, E) → (B, H, 1, E). The old state is left to its scope, or to the tape. */
  step(q: Tensor, k: Tensor, v: Tensor): Tensor {
    check(
      q.shape[2] === 1,
      () => `LinearAttentionState.step takes one token, but got ${q.shape[2]}; use linearAttention for many`,
    );
    const [fq, fk] = [linearFeatures(q), linearFeatures(k)];
    this.memory = this.memory.add(fk.T.matmul(v));
    this.total = this.total.add(fk);
    return fq.matmul(this.memory).div(fq.matmul(this.total.T).add(EPS));
  }
}
