import { describe, expect, test } from 'vitest';
import {
  Alibi,
  alibiSlopes,
  attention,
  bandMask,
  convertProjection,
  LearnedPositions,
  RelativeBias,
  relativeBucket,
  ropeFrequencies,
  type RopeScaling,
  Rotary,
  SelfAttention,
  sinusoidalPositions,
  toHalfSplit,
  toInterleaved,
} from '../../src/attention/index.ts';
import { Rng, scope, Tensor } from '../../src/tensor/index.ts';
import { goldenJson, largest, normal, rowsOf } from './numbers.ts';

interface Golden {
  rope: {
    name: string;
    base: number;
    length: number;
    scaling: Record<string, number | string | boolean> | null;
    frequencies: number[];
    magnitude: number;
  }[];
  buckets: { bidirectional: number[]; causal: number[] };
  alibi: Record<string, number[]>;
}
// Made by test/parity/make_rope.py; the versions of torch and transformers are in the file.
const golden = goldenJson('positions.json') as Golden;

describe('3.3.2a absolute positions', () => {
  test('3.3.2a sinusoidal positions equal their formula ≤ 1e-6', () => {
    using _ = scope('formula');
    const pe = rowsOf(sinusoidalPositions(50, 16).readSync(), 16);
    for (const pos of [0, 1, 7, 49])
      for (const j of [0, 1, 6, 15]) {
        const angle = pos / 10_000 ** ((j - (j % 2)) / 16);
        expect(pe[pos][j]).toBeCloseTo(j % 2 === 0 ? Math.sin(angle) : Math.cos(angle), 6);
      }
  });

  test('3.3.2a PE(p + k) = R_k PE(p) with one rotation R_k for all places ≤ 1e-5', () => {
    using _ = scope('rotation');
    const [T, C] = [100, 16];
    const pe = sinusoidalPositions(T, C);
    for (const k of [1, 5, 33]) {
      // Blocks [[cos, sin], [−sin, cos]] of angle k·base^(−2i/C) on (sin, cos)
      const R = new Float32Array(C * C);
      for (let i = 0; i < C / 2; i++) {
        const angle = k * 10_000 ** ((-2 * i) / C);
        const at = 2 * i;
        R[at * C + at] = R[(at + 1) * C + at + 1] = Math.cos(angle);
        R[at * C + at + 1] = Math.sin(angle);
        R[(at + 1) * C + at] = -Math.sin(angle);
      }
      const moved = pe.slice(0, 0, T - k).matmul(Tensor.from(R, [C, C]).T);
      expect(largest(moved, pe.slice(0, k).contiguous())).toBeLessThanOrEqual(1e-5);
      expect(largest(sinusoidalPositions(T - k, C, { start: k }), moved)).toBeLessThanOrEqual(1e-5);
    }
  });

  test('3.3.2a a learned table gives its rows and refuses places beyond them', () => {
    using _ = scope('learned');
    const table = new LearnedPositions(8, 4, { rng: new Rng(1) });
    expect(largest(table.forward(3, 5), table.weight.readSync().slice(20))).toBe(0);
    expect(() => table.forward(3, 6)).toThrow('places 6 … 8 were asked for, but the table ends at 7');
  });
});

describe('3.3.2b rotary positions', () => {
  const rng = new Rng(11);
  const scoreOf = (q: Tensor, k: Tensor): number => q.mul(k).sum().itemSync();

  test.each([
    ['half-split', false, 4],
    ['interleaved', true, 4],
    ['half-split, 2 of 4 pairs', false, 2],
    ['interleaved, 2 of 4 pairs', true, 2],
  ] as const)('3.3.2b ⟨R_m q, R_n k⟩ depends on m − n alone ≤ 1e-5: %s', (_name, interleaved, pairs) => {
    using _ = scope('shift');
    using rotary = new Rotary(pairs, 10_000, interleaved);
    const [q, k] = [normal(rng, 1, 1, 1, 8), normal(rng, 1, 1, 1, 8)];
    for (const distance of [0, 1, 4, 30]) {
      const at = (n: number): number => scoreOf(rotary.apply(q, n + distance), rotary.apply(k, n));
      for (const n of [1, 9, 50]) expect(Math.abs(at(n) - at(0))).toBeLessThanOrEqual(1e-5);
    }
    expect(Math.abs(scoreOf(rotary.apply(q, 4), k) - scoreOf(q, k))).toBeGreaterThan(1e-2);
    const still = rotary.apply(q, 9).slice(3, 2 * pairs);
    if (2 * pairs < 8) expect(largest(still, q.slice(3, 2 * pairs))).toBe(0);
  });

  test('3.3.2b the layouts convert both ways, and a model rewritten for the other one gives the same outputs', () => {
    using _ = scope('layouts');
    for (const pairs of [4, 3]) {
      const x = normal(rng, 2, 3, 5, 8);
      expect(largest(toHalfSplit(toInterleaved(x, pairs), pairs), x)).toBe(0);
      using half = new Rotary(pairs);
      using inter = new Rotary(pairs, 10_000, true);
      // Turning in one layout is converting, turning in the other, and converting back.
      expect(largest(inter.apply(toInterleaved(x, pairs), 3), toInterleaved(half.apply(x, 3), pairs))).toBeLessThanOrEqual(1e-6);

      const layer = (rotary: Rotary): SelfAttention =>
        new SelfAttention({ dModel: 16, nHead: 2, bias: true, rotary, std: 0.5, residualStd: 0.5, rng: new Rng(12) });
      const [a, b] = [layer(half), layer(inter)];
      for (const p of ['qProj', 'kProj'] as const) {
        a[p].bias!.write(normal(rng, 16).readSync());
        b[p].weight.write(convertProjection(a[p].weight, 2, pairs, 'interleaved').contiguous().readSync());
        b[p].bias!.write(convertProjection(a[p].bias!, 2, pairs, 'interleaved').contiguous().readSync());
        expect(largest(convertProjection(b[p].weight, 2, pairs, 'half-split'), a[p].weight)).toBe(0);
      }
      const text = normal(rng, 2, 5, 16);
      expect(largest(a.forward(text), b.forward(text))).toBeLessThanOrEqual(1e-5);
    }
  });
});

test('3.3.2c ALiBi: slopes 2^(−8i/h), as transformers has them for any number of heads; the bias is −slope · distance', () => {
  using _ = scope('alibi');
  expect(alibiSlopes(8)).toEqual([1, 2, 3, 4, 5, 6, 7, 8].map((i) => 2 ** -i));
  for (const [heads, slopes] of Object.entries(golden.alibi)) {
    expect(slopes.length).toBe(Number(heads));
    expect(largest(alibiSlopes(Number(heads)), slopes)).toBeLessThanOrEqual(1e-6);
  }
  // Added to causal scores it gives what adding slope · (place of the key) gives: a constant a row falls out of softmax.
  const rng = new Rng(13);
  const [q, k, v] = [0, 1, 2].map(() => normal(rng, 1, 3, 5, 4));
  const byPlace = Tensor.from(
    golden.alibi['3'].flatMap((m) => [0, 1, 2, 3, 4].map((s) => m * s)),
    [1, 3, 1, 5],
  );
  const [ours, theirs] = [new Alibi(3).bias(5, 5), byPlace].map((bias) => attention(q, k, v, { causal: true, bias }));
  expect(largest(ours, theirs)).toBeLessThanOrEqual(1e-5);
  expect(largest(new Alibi(3).bias(1, 5), new Alibi(3).bias(5, 5).slice(2, 4))).toBe(0); // decoding: the last query's row
});

test('3.3.2d T5 buckets (32, maximum distance 128) equal the table of transformers for −300 … 300, bidirectional and causal', () => {
  const distances = Array.from({ length: 601 }, (_, i) => i - 300);
  expect(distances.map((d) => relativeBucket(d))).toEqual(golden.buckets.bidirectional);
  expect(distances.map((d) => relativeBucket(d, { bidirectional: false }))).toEqual(golden.buckets.causal);

  using _ = scope('bias');
  const relative = new RelativeBias(2, { rng: new Rng(14), std: 1, bidirectional: false });
  const bias = relative.bias(3, 5); // queries at places 2, 3, 4
  expect(bias.shape).toEqual([1, 2, 3, 5]);
  const table = rowsOf(relative.weight.readSync(), 2);
  expect(
    largest(
      bias,
      [0, 1].flatMap((h) => [2, 3, 4].flatMap((t) => [0, 1, 2, 3, 4].map((s) => table[Math.max(t - s, 0)][h]))),
    ),
  ).toBe(0);
  const g = attention(normal(new Rng(1), 1, 2, 3, 4), normal(new Rng(2), 1, 2, 5, 4), normal(new Rng(3), 1, 2, 5, 4), {
    bias,
    mask: bandMask(3, 5, undefined, 0),
  })
    .square()
    .sum()
    .backward()
    .get(relative.weight)!;
  const rows = rowsOf(g.readSync(), 2);
  expect(rows.map((row) => row.some((x) => x !== 0))).toEqual(Array.from({ length: 32 }, (_, bucket) => bucket <= 4)); // distances 0 … 4
});

describe('3.3.2e scaling of rotary positions', () => {
  const ours = (s: Golden['rope'][number]['scaling']): RopeScaling | undefined => {
    if (!s) return undefined;
    const number = (key: string): number | undefined => s[key] as number | undefined;
    const factor = number('factor')!;
    const contextLength = number('original_max_position_embeddings') ?? 512;
    switch (s.rope_type) {
      case 'linear':
        return { type: 'linear', factor };
      case 'dynamic':
        return { type: 'dynamic', factor, contextLength };
      case 'llama3':
        return {
          type: 'llama3',
          factor,
          contextLength,
          lowFreqFactor: number('low_freq_factor')!,
          highFreqFactor: number('high_freq_factor')!,
        };
      default:
        return {
          type: 'yarn',
          factor,
          contextLength,
          betaFast: number('beta_fast'),
          betaSlow: number('beta_slow'),
          attentionFactor: number('attention_factor'),
          mscale: number('mscale'),
          mscaleAllDim: number('mscale_all_dim'),
          truncate: s.truncate as boolean | undefined,
        };
    }
  };

  test.each(golden.rope)('3.3.2e $name, base $base, length $length: frequencies and magnitude equal transformers', (g) => {
    const { frequencies, magnitude } = ropeFrequencies(16, g.base, ours(g.scaling), g.length);
    frequencies.forEach((f, i) => expect(Math.abs(f / g.frequencies[i] - 1)).toBeLessThanOrEqual(2e-6)); // theirs are f32
    expect(magnitude).toBeCloseTo(g.magnitude, 6);
  });

  test('3.3.2e NTK keeps the fastest pair and slows the slowest by the factor', () => {
    const plain = ropeFrequencies(16, 10_000).frequencies;
    const ntk = ropeFrequencies(16, 10_000, { type: 'ntk', factor: 8 }).frequencies;
    expect(ntk[0]).toBe(plain[0]);
    expect(plain[15] / ntk[15]).toBeCloseTo(8, 9);
    // Dynamic scaling is NTK whose factor grows with the text: with factor s it reaches s at (2s − 1)/s trained lengths.
    const dynamic = ropeFrequencies(16, 10_000, { type: 'dynamic', factor: 8, contextLength: 64 }, (15 / 8) * 64).frequencies;
    expect(largest(dynamic, ntk)).toBeLessThanOrEqual(1e-12);
  });

  test('3.3.2e Rotary turns by the scaled frequencies, and by those of each length when they are dynamic', () => {
    using _ = scope('apply');
    const x = normal(new Rng(15), 1, 1, 100, 8);
    for (const scaling of [
      { type: 'yarn', factor: 4, contextLength: 32 },
      { type: 'dynamic', factor: 4, contextLength: 32 },
    ] as const) {
      using rotary = new Rotary(4, 10_000, false, scaling);
      for (const T of [20, 100, 90, 33, 20]) {
        const { frequencies, magnitude } = ropeFrequencies(4, 10_000, scaling, T);
        const values = x.slice(2, 0, T).contiguous().readSync();
        const turned = Array.from({ length: 8 * T }, (_, at) => {
          const [t, d] = [Math.floor(at / 8), at % 8];
          const angle = t * frequencies[d % 4];
          const [a, b] = [values[t * 8 + (d % 4)], values[t * 8 + (d % 4) + 4]];
          return magnitude * (d < 4 ? a * Math.cos(angle) - b * Math.sin(angle) : b * Math.cos(angle) + a * Math.sin(angle));
        });
        expect(largest(rotary.apply(x.slice(2, 0, T)), turned), `${scaling.type}, ${T} tokens`).toBeLessThanOrEqual(1e-5);
      }
    }
  });
});
