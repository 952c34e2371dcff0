import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createBatches, evalBatches, IGNORE_INDEX } from './batches.ts';
import { hash32, permuted, uniformAt } from './order.ts';
import { memoryStream, sliceStream } from './tokens.ts';

const counting = (n: number) =>
  memoryStream(
    Int32Array.from({ length: n }, (_, i) => i),
    n,
  );

test('permuted is a permutation for every size, and another one each epoch and seed', () => {
  for (const N of [1, 2, 3, 4, 5, 7, 16, 17, 100, 257, 1000]) {
    const order = Array.from({ length: N }, (_, i) => permuted(7, 3, i, N));
    expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length: N }, (_, i) => i));
    if (N >= 16) {
      expect(order).not.toEqual(Array.from({ length: N }, (_, i) => permuted(7, 4, i, N)));
      expect(order).not.toEqual(Array.from({ length: N }, (_, i) => permuted(8, 3, i, N)));
      expect(order.filter((x, i) => x === (order[i - 1] ?? -2) + 1).length).toBeLessThan(0.2 * N); // it shuffles: neighbours part
    }
  }
  const far = 2 ** 45 + 12345;
  expect(new Set(Array.from({ length: 1000 }, (_, i) => permuted(1, 0, i * 3_000_000_007, far))).size).toBe(1000);
  expect(() => permuted(1, 0, 5, 5)).toThrow(RangeError);
});

test('every place is equally likely for every sample (χ² over seeds)', () => {
  for (const N of [3, 4, 5, 11]) {
    const seeds = 4000;
    for (const i of [0, N - 1]) {
      const counts = new Array<number>(N).fill(0);
      for (let seed = 0; seed < seeds; seed++) counts[permuted(seed, 0, i, N)]++;
      const chi2 = counts.reduce((s, c) => s + (c - seeds / N) ** 2 / (seeds / N), 0);
      expect(chi2).toBeLessThan(N - 1 + 5 * Math.sqrt(2 * (N - 1))); // mean N−1, deviation √(2(N−1)); fixed seeds, so this never flickers
    }
  }
});

test('random offsets are uniform, and one bit of seed or counter changes half of the bits', () => {
  const bins = new Array<number>(50).fill(0);
  for (let i = 0; i < 50_000; i++) bins[uniformAt(1337, i, 50)]++;
  const chi2 = bins.reduce((s, c) => s + (c - 1000) ** 2 / 1000, 0);
  expect(chi2).toBeGreaterThan(49 - 4 * Math.sqrt(98)); // too even is no chance either
  expect(chi2).toBeLessThan(49 + 4 * Math.sqrt(98));
  const ones = (x: number) => x.toString(2).replaceAll('0', '').length;
  for (let bit = 0; bit < 32; bit++) {
    let flipped = 0;
    for (let i = 0; i < 500; i++) flipped += ones((hash32(5, i) ^ hash32(5, i ^ (1 << bit))) >>> 0);
    expect(flipped / 500 / 32).toBeGreaterThan(0.45);
    expect(flipped / 500 / 32).toBeLessThan(0.55);
  }
  expect(uniformAt(2 ** 40 + 1, 0, 2 ** 30)).not.toBe(uniformAt(1, 0, 2 ** 30)); // seeds differ above 32 bits
});

test('a batch: inputs, and targets one token later', () => {
  for (const order of ['random', 'epoch'] as const) {
    const batches = createBatches(counting(101), { batchSize: 3, contextLength: 7, seed: 1, order });
    const { inputs, targets, shape, starts, targetTokens } = batches.at(0);
    expect(shape).toEqual([3, 7]);
    expect(targetTokens).toBe(21);
    for (let b = 0; b < 3; b++) {
      for (let t = 0; t < 7; t++) {
        expect(inputs[b * 7 + t]).toBe(starts[b] + t);
        expect(targets[b * 7 + t]).toBe(starts[b] + t + 1);
      }
    }
  }
});

test('random windows reach the first and the last token, and no further', () => {
  const batches = createBatches(counting(12), { batchSize: 1, contextLength: 7, seed: 0 });
  const starts = new Set(Array.from({ length: 200 }, (_, c) => batches.startOf(c)));
  expect([...starts].sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 4]); // nanoGPT: randint(len − T); the last target is token 11
});

test('each sample exactly once an epoch: any sizes, accumulation, ranks, batch changes and resumes', () => {
  fc.assert(
    fc.property(
      fc.record({
        T: fc.integer({ min: 1, max: 9 }),
        length: fc.integer({ min: 2, max: 400 }),
        seed: fc.integer({ min: 0, max: 2 ** 40 }),
        accumulation: fc.integer({ min: 1, max: 4 }),
        ranks: fc.integer({ min: 1, max: 3 }),
        stages: fc.array(fc.record({ B: fc.integer({ min: 1, max: 8 }), steps: fc.integer({ min: 1, max: 12 }) }), {
          minLength: 1,
          maxLength: 5,
        }),
        epochs: fc.integer({ min: 1, max: 3 }),
      }),
      ({ T, length, seed, accumulation, ranks, stages, epochs }) => {
        fc.pre(length > T);
        const stream = counting(length);
        const N = Math.floor((length - 1) / T);
        let cursor = 0;
        const seen: number[] = [];
        // Each stage is a process of its own that knows only the cursor; a step is `accumulation` micro-batches on each rank.
        for (let k = 0; seen.length < epochs * N; k++) {
          const { B, steps } = stages[k % stages.length];
          const batches = createBatches(stream, { batchSize: B, contextLength: T, seed, order: 'epoch' });
          expect(batches.samplesPerEpoch).toBe(N);
          for (let s = 0; s < steps; s++) {
            for (let micro = 0; micro < accumulation; micro++) {
              for (let rank = 0; rank < ranks; rank++) {
                const { inputs } = batches.at(cursor);
                for (let b = 0; b < B; b++) seen.push(inputs[b * T]);
                cursor += B;
              }
            }
          }
        }
        for (let e = 0; e < epochs; e++) {
          const epoch = seen.slice(e * N, (e + 1) * N).sort((a, b) => a - b);
          expect(epoch).toEqual(Array.from({ length: N }, (_, w) => w * T));
        }
      },
    ),
    { numRuns: 300 },
  );
});

test('a run resumed twice sees what an uninterrupted one sees', () => {
  fc.assert(
    fc.property(
      fc.constantFrom('random' as const, 'epoch' as const),
      fc.integer({ min: 0, max: 1e9 }),
      fc.integer({ min: 20, max: 300 }),
      fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 2, maxLength: 5 }),
      (order, seed, length, stops) => {
        const options = { batchSize: 3, contextLength: 5, seed, order };
        const total = stops.reduce((a, b) => a + b);
        const whole: number[][] = [];
        const uninterrupted = createBatches(counting(length), options).from(0);
        for (let s = 0; s < total; s++) whole.push([...uninterrupted.next().value.inputs]);
        const parts: number[][] = [];
        let cursor = 0;
        for (const stop of stops) {
          const resumed = createBatches(counting(length), options).from(cursor);
          resumed.next(); // a batch fetched ahead and lost with the process
          const again = createBatches(counting(length), options).from(cursor);
          for (let s = 0; s < stop; s++) {
            parts.push([...again.next().value.inputs]);
            cursor += 3;
          }
        }
        expect(parts).toEqual(whole);
      },
    ),
    { numRuns: 300 },
  );
});

test('evaluation covers each token but the first exactly once, the same way each time', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 11 }),
      fc.integer({ min: 1, max: 120 }),
      fc.integer({ min: 1, max: 5 }),
      (T, extra, batchSize) => {
        const stream = counting(T + extra);
        const seen: number[] = [];
        let targetTokens = 0;
        for (const batch of evalBatches(stream, { batchSize, contextLength: T })) {
          expect(batch.inputs.length).toBe(batch.shape[0] * batch.shape[1]);
          batch.targets.forEach((t, i) => {
            if (t === IGNORE_INDEX) return;
            expect(t).toBe(batch.inputs[i] + 1);
            seen.push(t);
          });
          targetTokens += batch.targetTokens;
        }
        expect(seen).toEqual(Array.from({ length: T + extra - 1 }, (_, i) => i + 1));
        expect(targetTokens).toBe(seen.length);
      },
    ),
    { numRuns: 300 },
  );
  const few = [...evalBatches(counting(1001), { batchSize: 4, contextLength: 10, maxWindows: 5 })];
  expect(few.flatMap((b) => b.starts)).toEqual([0, 200, 400, 600, 800]);
});

test('a context longer than the data names the tokens and the largest context', () => {
  const stream = counting(33);
  for (const make of [
    () => createBatches(stream, { batchSize: 1, contextLength: 64, seed: 1 }),
    () => [...evalBatches(stream, { batchSize: 1, contextLength: 64 })],
  ]) {
    expect(make).toThrow(
      expect.objectContaining({ code: 'E135', values: expect.objectContaining({ tokens: 33, contextLength: 64, largest: 32 }) }),
    );
  }
  expect(createBatches(stream, { batchSize: 1, contextLength: 32, seed: 1 }).at(0).shape).toEqual([1, 32]);
  expect(() => createBatches(stream, { batchSize: 0, contextLength: 3, seed: 1 })).toThrow(/batchSize=0/);
  expect(() => createBatches(stream, { batchSize: 1, contextLength: 3, seed: 1 }).at(-1)).toThrow(/cursor/);
});

test('a slice of a stream keeps its documents', () => {
  const stream = memoryStream(
    Int32Array.from({ length: 20 }, (_, i) => i),
    20,
    [0, 4, 9, 15],
  );
  const tail = sliceStream(stream, 6, 16);
  expect([tail.length, tail.documents]).toEqual([10, 3]);
  expect([0, 1, 2].map((i) => tail.documentStart(i))).toEqual([0, 3, 9]);
  expect([0, 2, 3, 8, 9].map((at) => tail.documentOf(at))).toEqual([0, 0, 1, 1, 2]);
  expect([...tail.read(0, 3)]).toEqual([6, 7, 8]);
  expect(() => tail.read(8, 3)).toThrow(RangeError);
});
