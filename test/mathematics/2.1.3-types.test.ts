import { describe, expect, test } from 'vitest';
import {
  AdditiveScore,
  Alibi,
  attention,
  blockMask,
  causalMask,
  CrossAttention,
  documentMask,
  eitherMask,
  globalLocalMask,
  linearAttention,
  paddingMask,
  prefixMask,
  RelativeBias,
  Rotary,
  SelfAttention,
  type SelfAttentionOptions,
  stridedMask,
} from '../../src/attention/index.ts';
import { Rng, scope, type Tensor } from '../../src/tensor/index.ts';
import { normal, rowsOf } from './numbers.ts';

describe('2.1.3a types', () => {
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
