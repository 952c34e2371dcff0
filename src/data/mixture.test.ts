import { expect, test } from 'vitest';
import { createBatches } from './batches.ts';
import { mixBatches } from './mixture.ts';
import { memoryStream } from './tokens.ts';

/** Source s has tokens 1000 s … 1000 s + n − 1, so a token says where it is from. */
const source = (s: number, n: number, T = 3) =>
  createBatches(
    memoryStream(
      Int32Array.from({ length: n }, (_, i) => 1000 * s + i),
      10_000,
    ),
    {
      batchSize: 1,
      contextLength: T,
      seed: 10 + s,
      order: 'epoch',
    },
  );

test.each([[[1]], [[3, 1]], [[0.7, 0.2, 0.1]], [[1e-6, 1, 5]], [Array.from({ length: 40 }, (_, i) => 1 + (i % 3))]])(
  'shares are right at every moment, and each source is read in its own order without a gap or a repeat: weights %j',
  (weights) => {
    const mixture = mixBatches(
      weights.map((weight, s) => ({ batches: source(s % 9, 200), weight })),
      { seed: 5, batchSize: 4 },
    );
    const total = weights.reduce((a, b) => a + b, 0);
    const counts = weights.map(() => 0);
    const seen = weights.map(() => new Set<number>());
    const N = 8 * 1600;
    for (let c = 0; c < N; c++) {
      const from = mixture.sourceOf(c);
      counts[from.source]++;
      expect(seen[from.source].has(from.cursor)).toBe(false);
      seen[from.source].add(from.cursor);
    }
    for (const [s, w] of weights.entries()) {
      const share = (w / total) * N;
      expect(Math.abs(counts[s] - share)).toBeLessThan(6 * Math.sqrt(share) + weights.length + 1); // in the last, unfinished block
      expect(Math.max(-1, ...seen[s])).toBeLessThan(counts[s] + Math.max(1024, weights.length ** 2)); // nothing is left out
    }
    const blocks = Math.max(1024, weights.length ** 2);
    for (const [s, n] of mixture.consumed(4 * blocks).entries())
      expect(Math.abs(n - (weights[s] / total) * 4 * blocks)).toBeLessThan(
        s === weights.indexOf(Math.max(...weights)) ? weights.length : 1 + 1e-9,
      );
    expect(mixture.consumed(N)).toEqual(counts);
  },
);

test('a pure function of seed and cursor: resumed at any cursor, with another batch size, the same samples', () => {
  const mix = (batchSize: number, seed = 1) =>
    mixBatches(
      [
        { batches: source(1, 300), weight: 2 },
        { batches: source(2, 90), weight: 1 },
      ],
      { seed, batchSize },
    );
  const row = (cursor: number) => [...mix(1).at(cursor).inputs];
  const four = mix(4);
  for (const cursor of [0, 4, 1020, 5000]) {
    const batch = four.at(cursor);
    expect(batch.shape).toEqual([4, 3]);
    for (let b = 0; b < 4; b++) {
      expect([...batch.inputs.subarray(3 * b, 3 * b + 3)]).toEqual(row(cursor + b));
      expect([...batch.targets.subarray(3 * b, 3 * b + 2)]).toEqual(row(cursor + b).slice(1));
    }
  }
  const generator = four.from(1016);
  generator.next();
  expect(generator.next().value).toEqual(four.at(1020));
  expect([...mix(8, 2).at(0).inputs]).not.toEqual([...mix(8, 1).at(0).inputs]);
  // 1 : 2 although source 2 is much smaller: it is repeated, each epoch in another order.
  const second = Array.from({ length: 3000 }, (_, c) => mix(1).at(c).inputs[0]).filter((id) => id >= 2000);
  expect(second.length / 3000).toBeCloseTo(1 / 3, 1);
  expect(new Set(second).size).toBe(29);
});

test('weights and lengths that cannot be mixed are refused', () => {
  expect(() => mixBatches([], { seed: 1, batchSize: 1 })).toThrow(/weights/);
  expect(() => mixBatches([{ batches: source(1, 50), weight: 0 }], { seed: 1, batchSize: 1 })).toThrow(/0/);
  const odd = mixBatches(
    [
      { batches: source(1, 50), weight: 1 },
      { batches: source(2, 50, 4), weight: 1 },
    ],
    { seed: 1, batchSize: 16 },
  );
  expect(() => odd.at(0)).toThrow(/context lengths/);
});
