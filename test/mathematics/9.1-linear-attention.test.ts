import { expect, test } from 'vitest';
import {
  attentionWeights,
  causalMask,
  linearAttention,
  LinearAttentionState,
  linearFeatures,
} from '../../src/attention/index.ts';
import { concat, Rng, scope } from '../../src/tensor/index.ts';
import { differenceError, largest, normal } from './numbers.ts';

const [B, H, T, D, E] = [2, 3, 13, 4, 5];

test('9.1b linear attention as an RNN: the parallel form equals the recurrent form ≤ 1e-5, output and gradients', () => {
  using _ = scope('two forms');
  const rng = new Rng(91);
  const inputs = [normal(rng, B, H, T, D), normal(rng, B, H, T, D), normal(rng, B, H, T, E)];
  const dy = normal(rng, B, H, T, E);
  const run = (recurrent: boolean) => {
    const leaves = inputs.map((x) => x.detach().requireGrad());
    const [q, k, v] = leaves;
    const state = new LinearAttentionState(B, H, D, E);
    const y = recurrent
      ? concat(
          Array.from({ length: T }, (_, t) => state.step(q.slice(2, t, t + 1), k.slice(2, t, t + 1), v.slice(2, t, t + 1))),
          2,
        )
      : linearAttention(q, k, v, { causal: true });
    const value = y.detach();
    const grads = y.mul(dy).sum().backward();
    return [value, ...leaves.map((x) => grads.get(x)!)];
  };
  const [parallel, recurrent] = [run(false), run(true)];
  parallel.forEach((x, i) => expect(largest(x, recurrent[i])).toBeLessThanOrEqual(1e-5));
});

test('9.1b the state does not grow: D·E + D numbers a head, after one token as after a hundred', () => {
  using _ = scope('state');
  const rng = new Rng(92);
  const state = new LinearAttentionState(1, 1, D, E);
  for (let t = 0; t < 100; t++) state.step(normal(rng, 1, 1, 1, D), normal(rng, 1, 1, 1, D), normal(rng, 1, 1, 1, E));
  expect(state.memory.size + state.total.size).toBe(D * E + D);
});

test('9.1b it is attention with weights φ(q)·φ(k) / Σ φ(q)·φ(k): positive, summing to one; everything seen costs no T×S product', () => {
  using _ = scope('weights');
  const rng = new Rng(93);
  const [q, k, v] = [normal(rng, B, H, T, D), normal(rng, B, H, T, D), normal(rng, B, H, T, E)];
  const score = { forward: (a: typeof q, b: typeof k) => linearFeatures(a).matmul(linearFeatures(b).T).log() };
  for (const causal of [false, true]) {
    // softmax(log(φ(q)·φ(k))) is that quotient
    const weights = attentionWeights(q, k, { score, mask: causal ? causalMask(T) : undefined });
    expect(weights.min().itemSync()).toBeGreaterThanOrEqual(0);
    expect(largest(linearAttention(q, k, v, { causal }), weights.matmul(v))).toBeLessThanOrEqual(1e-5);
  }
});

test('9.1b its derivative passes finite differences', () => {
  for (const causal of [false, true]) {
    const make = () => [new Rng(94), new Rng(95), new Rng(96)].map((rng) => normal(rng, 1, 2, 4, 3));
    expect(differenceError(new Rng(97), make, ([q, k, v]) => linearAttention(q, k, v, { causal }))).toBeLessThanOrEqual(1e-4);
  }
});
