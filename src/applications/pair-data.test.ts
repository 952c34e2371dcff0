import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { resolve, type TrainConfig } from '../settings/index.ts';
import { charTokenizer } from '../tokenizers/index.ts';
import { continuedBatch, evenPairs, pairBatch, pairOrder, Pairs, readPairs } from './pair-data.ts';

const folder = mkdtempSync(join(tmpdir(), 'qkv-pairs-'));
afterAll(() => rmSync(folder, { recursive: true }));
const tokenizer = charTokenizer('0123456789', { specialTokens: ['<pad>', '</s>'] });
const END = 1;
const config = (changes: Partial<TrainConfig>): TrainConfig => ({
  ...resolve([], [], { needData: false }).config,
  ...{ model: 'transformer', objective: 'pairs', contextLength: 8 },
  ...changes,
});
const file = (rows: string[]): string => {
  const path = join(folder, `${rows.length}.txt`);
  writeFileSync(path, rows.join('\n'));
  return path;
};

test('pairs of a text file: sources and targets with their end, validation by the hash of the source, long ones left out and counted', async () => {
  const rows = Array.from({ length: 100 }, (_, i) => `${i}\t${i * i}`);
  const data = file([...rows, ...rows, '123456789\t1']);
  const { train, val, skipped } = await readPairs(config({ data, valFraction: 0.3 }), tokenizer, END);
  expect(skipped).toBe(1);
  expect(train.length + val.length).toBe(200);
  const text = (pairs: Pairs, i: number) => tokenizer.decode(pairs.sources.row(i).subarray(0, -1));
  const sources = (pairs: Pairs) => new Set(Array.from({ length: pairs.length }, (_, i) => text(pairs, i)));
  expect([...sources(val)].filter((s) => sources(train).has(s))).toEqual([]); // a source is on one side
  expect(val.length).toBeGreaterThan(30);
  expect(train.targets.row(0).at(-1)).toBe(END);
  const together = await readPairs(config({ data, contextLength: 6 }), tokenizer, END, { together: true });
  expect(together.skipped).toBeGreaterThan(skipped);
});

test('few pairs still validate; none that fit, and no pairs, are errors', async () => {
  const { train, val } = await readPairs(config({ data: file(['1\t2', '1\t3', '1\t4']) }), tokenizer, END);
  expect([train.length, val.length]).toEqual([2, 1]);
  await expect(readPairs(config({ data: file(['123456789\t1', '234567891\t2']) }), tokenizer, END)).rejects.toMatchObject({
    code: 'E145',
  });
  await expect(readPairs(config({ data: file(['123456789', '1', '2', '3']) }), tokenizer, END)).rejects.toMatchObject({
    code: 'E144',
  });
});

const some = (n: number): Pairs => {
  const pairs = new Pairs();
  for (let i = 0; i < n; i++) pairs.add(new Int32Array(1 + (i % 5)).fill(2), new Int32Array(1 + (i % 3)).fill(3), END);
  return pairs;
};

test('an epoch takes every pair once, in an order of its own, pairs of like length together', () => {
  const pairs = some(103);
  const order = pairOrder(pairs, 10, 7);
  const epochs = [0, 1].map((e) => Array.from({ length: 10 }, (_, m) => order(e * 10 + m)));
  for (const batches of epochs) expect(new Set(batches.flat()).size).toBe(100); // three wait for another epoch
  expect(epochs[0]).not.toEqual(epochs[1]);
  expect(pairOrder(pairs, 10, 7)(13)).toEqual(epochs[1][3]); // a pure function of the batch's number
  expect(pairOrder(pairs, 10, 8)(13)).not.toEqual(epochs[1][3]);
  const spread = Math.max(
    ...epochs[0].map((rows) => Math.max(...rows.map(pairs.lengthOf)) - Math.min(...rows.map(pairs.lengthOf))),
  );
  expect(spread).toBeLessThan(4);
  expect(pairOrder(some(3), 10, 1)(5)).toHaveLength(3); // fewer pairs than a batch
});

test('batches: padding, teacher forcing, and source and target as one text', () => {
  const pairs = new Pairs();
  pairs.add(Int32Array.of(5, 6, 7), Int32Array.of(8), END);
  pairs.add(Int32Array.of(4), Int32Array.of(3, 2), END);
  const b = pairBatch(pairs, [0, 1], { startId: 0, padId: 0 });
  expect([...b.source]).toEqual([5, 6, 7, END, 4, END, 0, 0]);
  expect(b.lengths).toEqual([4, 2]);
  expect([...b.inputs]).toEqual([0, 8, 0, 0, 3, 2]);
  expect([...b.targets]).toEqual([8, END, -100, 3, 2, END]);
  expect([b.targetTokens, b.tokens]).toEqual([5, 11]);
  const one = continuedBatch(pairs, [0, 1], { padId: 0 });
  expect(one.shape).toEqual([2, 5]);
  expect([...one.inputs]).toEqual([5, 6, 7, END, 8, 4, END, 3, 2, 0]);
  expect([...one.targets]).toEqual([-100, -100, -100, 8, END, -100, 3, 2, END, -100]);
  expect(one.targetTokens).toBe(5);
  expect(evenPairs(some(10), 2, 3)).toEqual([[0, 3], [6]]);
});
