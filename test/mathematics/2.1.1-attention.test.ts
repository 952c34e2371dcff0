import { describe, expect, test } from 'vitest';
import {
  AdditiveScore,
  attention,
  attentionWeights,
  blockMask,
  causalMask,
  ConcatScore,
  dotScore,
  GeneralScore,
  paddingMask,
  plainAttention,
  type Score,
  scaledDotScore,
} from '../../src/attention/index.ts';
import { GPT2, Llama } from '../../src/models/index.ts';
import { Rng, scope, type Tensor } from '../../src/tensor/index.ts';
import { countKernels } from './count-kernels.ts';
import { differenceError, headOf, largest, normal, rowsOf } from './numbers.ts';

const qkv = (rng: Rng, T: number, S = T, D = 4, H = 2): [Tensor, Tensor, Tensor] => [
  normal(rng, 1, H, T, D),
  normal(rng, 1, H, S, D),
  normal(rng, 1, H, S, D),
];

describe('2.1.1 definition', () => {
  test('2.1.1a attention(q, k, v, { mask, bias, scale, score }) is one function, and the one that models train with', () => {
    using _ = scope('one function');
    const rng = new Rng(1);
    const [q, k, v] = qkv(rng, 5, 7);
    const [bias, mask] = [normal(rng, 1, 2, 5, 7), causalMask(5, 7)];
    for (const score of [undefined, dotScore, new GeneralScore(4, 4, { rng })]) {
      const scores = (score ?? dotScore).forward(q, k).mul(0.7).add(bias).add(mask);
      expect(largest(attention(q, k, v, { mask, bias, scale: 0.7, score }), scores.softmax().matmul(v))).toBeLessThanOrEqual(
        1e-5,
      );
    }
    const config = { vocabSize: 11, contextLength: 8, nLayer: 3, nHead: 2, dModel: 8 };
    for (const model of [new GPT2(config, rng), new Llama(config, rng)]) {
      const ids = Int32Array.of(1, 2, 3, 4);
      const calls = countKernels(() => model.loss({ inputs: ids, targets: ids, shape: [1, 4] }).backward()).calls;
      expect([calls.attention, calls.attentionBackward, calls.softmax]).toEqual([3, 3, undefined]);
    }
  });

  test('2.1.1b the output is a convex combination of the rows of V: weights ≥ 0, their sum 1 ± 1e-6', () => {
    using _ = scope('convex');
    const rng = new Rng(2);
    for (const options of [
      {},
      { causal: true },
      { causal: true, window: 2 },
      { softcap: 3 },
      { bias: normal(rng, 1, 2, 6, 6) },
    ]) {
      const [q, k, v] = qkv(rng, 6);
      const weights = attentionWeights(q, k, options);
      expect(weights.min().itemSync()).toBeGreaterThanOrEqual(0);
      expect(Math.abs(weights.sum({ axis: -1 }).sub(1).abs().max().itemSync())).toBeLessThanOrEqual(1e-6);
      const y = attention(q, k, v, options);
      expect(largest(y, weights.matmul(v))).toBeLessThanOrEqual(1e-5); // in the span of V, with these coefficients
      const above = y
        .sub(v.max({ axis: 2, keepDims: true }))
        .max()
        .itemSync();
      const below = v.min({ axis: 2, keepDims: true }).sub(y).max().itemSync();
      expect(Math.max(above, below)).toBeLessThanOrEqual(1e-6);
    }
  });

  test('2.1.1b switches with a rule of their own: sinks leave the sum below 1, a gate and linear attention leave the simplex', () => {
    using _ = scope('own rules');
    const rng = new Rng(3);
    const [q, k] = qkv(rng, 6);
    const total = attentionWeights(q, k, { sinks: normal(rng, 2) }).sum({ axis: -1 });
    expect(total.max().itemSync()).toBeLessThan(1);
    expect(total.min().itemSync()).toBeGreaterThan(0);
  });

  test('2.1.1c a query that may see no key gives zeros, never NaN, forward and backward, in every form', () => {
    const rng = new Rng(4);
    for (const form of [attention, plainAttention]) {
      for (const score of [undefined, new AdditiveScore(4, 4, 3, { rng })]) {
        using _ = scope('blind row');
        const [q, k, v] = qkv(rng, 5).map((x) => x.requireGrad());
        const mask = paddingMask([3], 5).add(blockMask(5, 5, 1, (i) => i !== 2)); // query 2 sees nothing
        const y = form(q, k, v, { mask, score });
        const value = y.detach();
        const grads = y.square().sum().backward();
        for (let h = 0; h < 2; h++) {
          expect(headOf(value, 0, h)[2].every((x) => x === 0)).toBe(true);
          expect(headOf(grads.get(q)!, 0, h)[2].every((x) => Math.abs(x) === 0)).toBe(true);
          expect(headOf(grads.get(v)!, 0, h)[4].every((x) => Math.abs(x) === 0)).toBe(true); // nobody sees key 4
        }
        for (const x of [value, grads.get(q)!, grads.get(k)!, grads.get(v)!])
          expect([...x.readSync()].every(Number.isFinite)).toBe(true);
      }
    }
  });
});

describe('2.1.2 score functions', () => {
  const [A, Dq, Dk, T, S] = [5, 3, 4, 3, 5];
  /** Each written out for one query h and one key s, as in its paper. */
  const cases: Record<
    string,
    { make: (rng: Rng) => Score; dKey?: number; byHand: (score: Score) => (h: number[], s: number[]) => number }
  > = {
    dot: { make: () => dotScore, dKey: Dq, byHand: () => dot },
    'scaled dot': { make: () => scaledDotScore, dKey: Dq, byHand: () => (q, k) => dot(q, k) / Math.sqrt(Dq) },
    general: {
      make: (rng) => new GeneralScore(Dq, Dk, { rng }),
      byHand: (score) => {
        const W = rowsOf((score as GeneralScore).weight.readSync(), Dk);
        return (q, k) =>
          dot(
            q,
            W.map((row) => dot(row, k)),
          ); // qᵀ (W k)
      },
    },
    additive: {
      make: (rng) => new AdditiveScore(Dq, Dk, A, { rng }),
      byHand: (score) => {
        const { keyProj, queryProj, v } = score as AdditiveScore;
        const [W1, W2] = [rowsOf(keyProj.weight.readSync(), Dk), rowsOf(queryProj.weight.readSync(), Dq)];
        return (q, k) =>
          dot(
            [...v.readSync()],
            W1.map((row, a) => Math.tanh(dot(row, k) + dot(W2[a], q))),
          );
      },
    },
    concat: {
      make: (rng) => new ConcatScore(Dq, Dk, A, { rng }),
      byHand: (score) => {
        const { weight, v } = score as ConcatScore;
        const W = rowsOf(weight.readSync(), Dq + Dk);
        return (q, k) =>
          dot(
            [...v.readSync()],
            W.map((row) => Math.tanh(dot(row, [...q, ...k]))),
          );
      },
    },
  };

  test.each(Object.keys(cases))('2.1.2a %s: the score of every pair is its formula ≤ 1e-5', (name) => {
    using _ = scope('score');
    const { make, dKey = Dk, byHand } = cases[name];
    const rng = new Rng(5);
    const score = make(rng);
    const [q, k] = [normal(rng, 2, 2, T, Dq), normal(rng, 2, 2, S, dKey)];
    const formula = byHand(score);
    const expected = [0, 1].flatMap((b) =>
      [0, 1].flatMap((h) => headOf(q, b, h).flatMap((query) => headOf(k, b, h).map((key) => formula(query, key)))),
    );
    expect(largest(score.forward(q, k), expected)).toBeLessThanOrEqual(1e-5);
  });

  test.each(Object.keys(cases))(
    '2.1.2b %s: attention with this score passes finite differences, its own weights included',
    (name) => {
      const { make, dKey = Dk } = cases[name];
      const error = differenceError(
        new Rng(6),
        () => {
          const rng = new Rng(7);
          const own = weightsOf(make(rng));
          return [normal(rng, 1, 2, T, Dq), normal(rng, 1, 2, S, dKey), normal(rng, 1, 2, S, 2), ...own];
        },
        ([q, k, v, ...own]) => {
          const score = make(new Rng(7));
          give(score, own);
          return attention(q, k, v, { score, causal: true });
        },
      );
      expect(error).toBeLessThanOrEqual(1e-4);
    },
  );

  const weightsOf = (score: Score): Tensor[] => {
    if (score instanceof AdditiveScore) return [score.keyProj.weight, score.queryProj.weight, score.v];
    if (score instanceof ConcatScore) return [score.weight, score.v];
    return score instanceof GeneralScore ? [score.weight] : [];
  };
  /** Puts other tensors where the score's weights are. */
  function give(score: Score, own: Tensor[]): void {
    if (score instanceof AdditiveScore) {
      Object.assign(score.keyProj, { weight: own[0] });
      Object.assign(score.queryProj, { weight: own[1] });
      Object.assign(score, { v: own[2] });
    } else if (score instanceof ConcatScore) Object.assign(score, { weight: own[0], v: own[1] });
    else if (score instanceof GeneralScore) Object.assign(score, { weight: own[0] });
  }
});
const dot = (a: readonly number[], b: readonly number[]): number => a.reduce((sum, x, i) => sum + x * b[i], 0);
