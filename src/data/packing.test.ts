import fc from 'fast-check';
import { expect, test } from 'vitest';
import { chunksOf, fillOf, lengthBuckets, packedBatch, packLengths } from './packing.ts';

const sorted = (rows: readonly (readonly number[])[]) => rows.flat().sort((a, b) => a - b);

test('packing: every document once, no row over T, at most one of them half empty', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 31 }), { maxLength: 60 }), (lengths) => {
      const rows = packLengths(lengths, 31);
      expect(sorted(rows)).toEqual([...lengths.keys()]);
      for (const row of rows) expect(row.reduce((n, i) => n + lengths[i], 0)).toBeLessThanOrEqual(31);
      // Best fit never opens a row while another has room: at most one is half empty.
      expect(rows.filter((row) => row.reduce((n, i) => n + lengths[i], 0) <= 15.5).length).toBeLessThanOrEqual(1);
    }),
    { numRuns: 200 },
  );
  expect(packLengths([5, 2, 3, 4, 6], 10)).toEqual([
    [4, 3],
    [0, 2, 1],
  ]);
  expect(() => packLengths([11], 10)).toThrow(/chunksOf/);
});

test('chunks: each token but the first is a target exactly once', () => {
  const ids = Int32Array.from({ length: 23 }, (_, i) => i);
  for (const T of [1, 4, 7, 11, 22, 30]) {
    const targets = chunksOf(ids, T).flatMap((c) => [...c.subarray(1)]);
    expect(targets, `T=${T}`).toEqual([...ids.subarray(1)]);
    for (const c of chunksOf(ids, T)) expect(c.length).toBeLessThanOrEqual(T + 1);
  }
});

test('a packed batch by hand', () => {
  const documents = [Int32Array.of(7, 8, 9), Int32Array.of(4, 5), Int32Array.of(1, 2, 3, 4)];
  const batch = packedBatch(documents, [[0, 1], [2]], 4, { pad: 99 });
  expect([...batch.inputs]).toEqual([7, 8, 4, 99, 1, 2, 3, 99]);
  expect([...batch.targets]).toEqual([8, 9, 5, -100, 2, 3, 4, -100]);
  expect([...batch.documents]).toEqual([0, 0, 1, -1, 0, 0, 0, -1]);
  expect([...batch.positions]).toEqual([0, 1, 0, 0, 0, 1, 2, 0]);
  expect(batch).toMatchObject({ shape: [2, 4], targetTokens: 6 });
  expect(() => packedBatch(documents, [[0, 2]], 4)).toThrow(/does not fit/);
});

test('bucketing: every document once, batches within their tokens, little padding, the same for the same seed', () => {
  const lengths = Array.from({ length: 5003 }, (_, i) => 1 + ((i * 7919) % 211));
  const options = { batchTokens: 2048, seed: 3 };
  const batches = lengthBuckets(lengths, options);
  expect(sorted(batches)).toEqual([...lengths.keys()]);
  for (const batch of batches) expect(batch.length * Math.max(...batch.map((i) => lengths[i]))).toBeLessThanOrEqual(2048);
  const inOrder = Array.from({ length: Math.ceil(5003 / 19) }, (_, b) => [...lengths.keys()].slice(b * 19, (b + 1) * 19));
  expect(fillOf(lengths, batches)).toBeGreaterThan(0.95);
  expect(fillOf(lengths, inOrder)).toBeLessThan(0.6);
  expect(lengthBuckets(lengths, options)).toEqual(batches);
  expect(lengthBuckets(lengths, { ...options, epoch: 1 })).not.toEqual(batches);
  expect(lengthBuckets([], options)).toEqual([]);
});
