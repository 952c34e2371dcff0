import { describe, expect, test } from 'vitest';
import {
  AdditiveScore,
  Alibi,
  attention,
  attentionWeights,
  blockMask,
  causalMask,
  ConcatScore,
  CrossAttention,
  documentMask,
  dotScore,
  eitherMask,
  GeneralScore,
  globalLocalMask,
  linearAttention,
  paddingMask,
  plainAttention,
  prefixMask,
  RelativeBias,
  Rotary,
  type Score,
  scaledDotScore,
  SelfAttention,
  type SelfAttentionOptions,
  stridedMask,
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

describe('2.1.3 types', () => {
  const C = 8;
  type Kind = { allowed: (i: number, j: number, T: number) => boolean; run: (x: Tensor) => Tensor };
  const rng = new Rng(8);
  const self = (o: Partial<SelfAttentionOptions> = {}): SelfAttention =>
    new SelfAttention({ dModel: C, nHead: 2, std: 0.5, residualStd: 0.5, rng, ...o });
  const causal = (i: number, j: number): boolean => j <= i;
  const all = (): boolean => true;
  /** Bidirectional, with a mask. */
  const masked = (mask: (T: number) => Tensor, allowed: Kind['allowed']): Kind => {
    const layer = self({ causal: false });
    return { allowed, run: (x) => layer.forward(x, { mask: mask(x.shape[1]) }) };
  };
  const module = (o: Partial<SelfAttentionOptions>, allowed: Kind['allowed']): Kind => {
    const layer = self(o);
    return { allowed, run: (x) => layer.forward(x) };
  };
  const core = (f: (q: Tensor) => Tensor, allowed: Kind['allowed']): Kind => ({
    allowed,
    run: (x) => f(x.rearrange('B T (H D) -> B H T D', { H: 2 })).rearrange('B H T D -> B T (H D)'),
  });
  const additive = new AdditiveScore(4, 4, 5, { rng });
  const documents = [0, 0, 1, 1, 1, 2, 2, 2];

  const kinds: Record<string, Kind> = {
    'self, bidirectional': module({ causal: false }, all),
    causal: module({}, causal),
    'prefix LM': masked(
      (T) => prefixMask(T, T, 3),
      (i, j) => j < 3 || j <= i,
    ),
    'sliding window': module({ window: 2 }, (i, j) => j <= i && j >= i - 2),
    'global + local': masked(
      (T) => globalLocalMask(T, T, 1, 1),
      (i, j) => Math.abs(i - j) <= 1 || i < 1 || j < 1,
    ),
    'multi-query': module({ nKvHead: 1 }, causal),
    'grouped-query': module({ nHead: 4, nKvHead: 2 }, causal),
    'linear, everything seen': core((x) => linearAttention(x, x, x), all),
    'linear, causal': core((x) => linearAttention(x, x, x, { causal: true }), causal),
    'block-sparse': masked(
      (T) => blockMask(T, T, 2, (i, j) => i === j || j === 0),
      (i, j) => i >> 1 === j >> 1 || j < 2,
    ),
    strided: masked(
      (T) => stridedMask(T, T, 3),
      (i, j) => j <= i && (i - j < 3 || (i - j) % 3 === 0),
    ),
    'packed documents, causal': masked(
      (T) => documentMask(documents.slice(0, T), 1, T).add(causalMask(T)),
      (i, j) => j <= i && documents[i] === documents[j],
    ),
    'padding of the last key': masked(
      (T) =>
        eitherMask(
          paddingMask([T - 1], T),
          blockMask(T, T, 1, (i, j) => i === j),
        ),
      (i, j, T) => j < T - 1 || i === j,
    ),
    'with QK-norm, soft-cap, sinks and a gate': module({ qkNorm: true, softcap: 4, sinks: true, gated: true }, causal),
    'with rotary positions': module({ rotary: new Rotary(2) }, causal),
    'with ALiBi': module({ positionBias: new Alibi(2) }, causal),
    'with T5 buckets': module({ positionBias: new RelativeBias(2, { rng, std: 1 }), causal: false }, all),
    'with the additive score': core((x) => attention(x, x, x, { score: additive, causal: true }), causal),
  };

  test.each(Object.keys(kinds))('2.1.3b %s: for all T ≤ 8, changing token j changes output i iff i may see j', (name) => {
    const { allowed, run } = kinds[name];
    for (let T = 1; T <= 8; T++) {
      using _ = scope('one length');
      // Row 0 of the batch is the text; in row j + 1 token j is another one.
      const text = normal(rng, 1, T, C).readSync() as Float32Array;
      const other = normal(rng, T, C).readSync();
      const x = normal(rng, T + 1, T, C);
      const rows = Array.from({ length: T + 1 }, (_, r) => {
        const row = Float32Array.from(text);
        if (r > 0) row.set(other.subarray((r - 1) * C, r * C), (r - 1) * C);
        return [...row];
      });
      x.write(rows.flat());
      expect(affects(run(x), T, T), `T = ${T}`).toEqual(
        Array.from({ length: T }, (_, i) => Array.from({ length: T }, (_, j) => allowed(i, j, T))),
      );
    }
  });

  test('2.1.3b cross, with padding of the memory: changing source token j changes every output iff j is no padding', () => {
    const layer = new CrossAttention({ dModel: C, nHead: 2, std: 0.5, residualStd: 0.5, rng });
    for (let S = 1; S <= 8; S++) {
      using _ = scope('one length');
      const T = 3;
      const source = normal(rng, S, C);
      const memory = normal(rng, S + 1, S, C);
      const rows = Array.from({ length: S + 1 }, (_, r) => {
        const row = Float32Array.from(source.readSync());
        if (r > 0) for (let c = 0; c < C; c++) row[(r - 1) * C + c] += 1;
        return [...row];
      });
      memory.write(rows.flat());
      const x = normal(rng, 1, T, C)
        .expand([S + 1, T, C])
        .contiguous();
      const real = Math.max(1, S - 2);
      const y = layer.forward(x, memory, { mask: paddingMask(new Array(S + 1).fill(real), S) });
      expect(affects(y, T, S)).toEqual(Array.from({ length: T }, () => Array.from({ length: S }, (_, j) => j < real)));
    }
  });

  /** [i][j]: does output i differ between row 0 of the batch and row j + 1? */
  function affects(y: Tensor, T: number, S: number): boolean[][] {
    const out = rowsOf(y.readSync(), T * C);
    return Array.from({ length: T }, (_, i) =>
      Array.from({ length: S }, (_, j) => {
        const at = (row: number[]): number[] => row.slice(i * C, (i + 1) * C);
        return at(out[0]).some((value, c) => Math.abs(value - at(out[j + 1])[c]) > 1e-7);
      }),
    );
  }
});
