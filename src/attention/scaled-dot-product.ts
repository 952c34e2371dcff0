// B batch · H query heads · G key-value heads · T queries · S keys · D head channels · E value channels

import { type AttentionOptions as CoreOptions, concat, fusedAttention, noGrad, type Tensor, tidy } from '../tensor/index.ts';
import { bandMask } from './masks.ts';
import type { Score } from './scores.ts';

export interface AttentionOptions extends CoreOptions {
  /** 0 where a query may look and −∞ where not, broadcast to (B, H, T, S); masks.ts makes and composes them. Added like `bias`. */
  mask?: Tensor;
  /** How a query and a key are compared, when not by the scaled dot product: scores.ts. Takes the path that holds the T×S weights. */
  score?: Score;
}
/** Receives the weights (B, H, T, S) that attention gave, when somebody looks inside. */
export interface Recording {
  record?: (name: string, value: Tensor) => void;
}

/**
 * Attention(Q, K, V) = softmax(QKᵀ / √D) V.  q (B, H, T, D), k (B, G, S, D), v (B, G, S, E) → (B, H, T, E).  Vaswani et al. 2017, eq. 1.
 * One function for training and decoding. It runs tile by tile and never holds the T×S weights (Dao et al. 2022); a recorder is given them
 * all the same, computed again by `attentionWeights`, and costs nothing when absent.
 * A query that may see no key gives zeros.
 */
export function attention(q: Tensor, k: Tensor, v: Tensor, { record, ...options }: AttentionOptions & Recording = {}): Tensor {
  if (record)
    record(
      'attn.weights',
      tidy(() => noGrad(() => attentionWeights(q, k, options))),
    );
  const { mask, score, ...core } = options;
  if (score) return plainAttention(q, k, v, options);
  if (mask) core.bias = core.bias ? core.bias.add(mask) : mask;
  const { y, lse } = fusedAttention(q, k, v, core);
  lse.free();
  return y;
}

/** softmax(scores) (B, H, T, S), written as in a textbook. Dropout is left out: what is shown is what the model thinks. */
export function attentionWeights(
  q: Tensor,
  k: Tensor,
  { score, scale, causal = false, window, mask, bias, sinks, softcap }: AttentionOptions = {},
): Tensor {
  const { B, H, T, D } = q.dims('B H T D');
  const S = k.shape[2];
  const keys = repeatHeads(k, H);
  let scores = score ? score.forward(q, keys).mul(scale ?? 1) : q.matmul(keys.T).mul(scale ?? 1 / Math.sqrt(D)); // (B, H, T, S)
  if (softcap) scores = scores.div(softcap).tanh().mul(softcap);
  if (bias) scores = scores.add(bias);
  if (mask) scores = scores.add(mask);
  if (causal || window !== undefined) scores = scores.add(bandMask(T, S, window, causal ? 0 : undefined));
  if (sinks) {
    const column = sinks.reshape([1, H, 1, 1]).expand([B, H, T, 1]);
    return concat([scores, column]).softmax().slice(3, 0, S);
  }
  return scores.softmax();
}

/** The same attention in tensor operations: the slow twin of `attention`, and the page to read. */
export function plainAttention(q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions = {}): Tensor {
  const weights = attentionWeights(q, k, options); // (B, H, T, S)
  const kept = options.dropout ? weights.dropout(options.dropout.p, options.dropout.seed) : weights;
  const { H } = q.dims('B H T D');
  return kept.matmul(repeatHeads(v, H)); // (B, H, T, E)
}

/** Key-value heads (B, G, S, D), each shared by H/G query heads → (B, H, S, D). Ainslie et al. 2023. */
export function repeatHeads(x: Tensor, H: number): Tensor {
  const { B, G, S, D } = x.dims('B G S D');
  if (G === H) return x;
  return x
    .reshape([B, G, 1, S, D])
    .expand([B, G, H / G, S, D])
    .reshape([B, H, S, D]);
}
