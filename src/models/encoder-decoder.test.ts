import { expect, test } from 'vitest';
import { dispose, parameterCount, stateDict } from '../nn/index.ts';
import { noGrad, Rng, scope, type Tensor } from '../tensor/index.ts';
import { AdamW, cosine, train } from '../train/index.ts';
import { type EncoderDecoder, type PairBatch, pairLogits, SourceWriter } from './encoder-decoder.ts';
import { ConvTranslator } from './conv-translator.ts';
import { RnnTranslator } from './rnn-translator.ts';
import { T5 } from './t5.ts';
import { Transformer } from './transformer.ts';

const size = { vocabSize: 29, nLayer: 2, nHead: 2, dModel: 12 };
const t5 = { ...size, headDim: 5, nEncoderLayer: 3, nBuckets: 8, maxDistance: 10 };
const rnn = { vocabSize: 29, dModel: 24 };
const families: [string, () => EncoderDecoder][] = [
  ['t5', () => new T5(t5, new Rng(1))],
  ['t5, gated and untied', () => new T5({ ...t5, gated: true, tied: false }, new Rng(1))],
  ['transformer, post-norm', () => new Transformer(size, new Rng(1))],
  ['transformer, pre-norm', () => new Transformer({ ...size, preNorm: true }, new Rng(1))],
  ['rnn, no attention', () => new RnnTranslator({ ...rnn, kind: 'rnn', attention: 'none' }, new Rng(1))],
  ['gru, Luong attention', () => new RnnTranslator({ ...rnn, kind: 'gru', attention: 'general' }, new Rng(1))],
  ['lstm, Bahdanau attention', () => new RnnTranslator(rnn, new Rng(1))],
  ['gated convolutions', () => new ConvTranslator(size, new Rng(1))],
];
const someIds = (n: number, seed: number): Int32Array => {
  const rng = new Rng(seed);
  return Int32Array.from({ length: n }, () => rng.int(size.vocabSize));
};
const batch: PairBatch = {
  source: someIds(3 * 7, 7),
  sourceShape: [3, 7],
  lengths: [7, 5, 2],
  inputs: someIds(3 * 5, 8),
  targets: someIds(3 * 5, 9),
  shape: [3, 5],
};

test.each(families)('2.3.3b %s: the first loss is ln V ± 0.1', (_, make) => {
  using _s = scope();
  const model = make();
  expect(Math.abs(model.loss(batch).itemSync() - Math.log(size.vocabSize))).toBeLessThan(0.1);
  dispose(model);
});

test.each(families)('2.3.3a %s overfits one batch to a loss below 0.01 in 300 steps', async (_, make) => {
  const model = make();
  const optimizer = new AdamW(stateDict(model), { weightDecay: 0 });
  let last = Infinity;
  const schedule = cosine({ peak: 1e-2, final: 1e-3, warmup: 20, steps: 300 });
  const options = { steps: 300, batch: () => batch, loss: (b: PairBatch) => model.loss(b), optimizer, schedule, clip: 1 };
  for await (const { lossNats } of train(model, options)) {
    last = lossNats;
    if (last < 0.01) break;
  }
  expect(last).toBeLessThan(0.01);
  optimizer.dispose();
  dispose(model);
});

test.each(families)('3.2d %s: writing with caches, self and cross, equals one full pass for every prefix', (_, make) => {
  using _s = scope();
  const model = make();
  const V = size.vocabSize;
  const source = batch.source.slice(0, 7);
  const ids = someIds(9, 3);
  const full = noGrad(() => model.logits(model.decode(ids, [1, 9], model.encode(source, [1, 7])))).readSync();
  using writer = new SourceWriter(model, source);
  const caches = writer.newCaches(1);
  for (const [from, to] of [
    [0, 4],
    [4, 5],
    [5, 8],
    [8, 9],
  ]) {
    const part = noGrad(() => writer.nextLogits(ids.slice(from, to), [1, to - from], { caches })).readSync();
    part.forEach((v, i) => expect(v).toBeCloseTo(full[(to - 1) * V + i], 4));
  }
  for (const c of caches) c[Symbol.dispose]();
  dispose(model);
});

test.each(families)('2.3.2a %s: encoder, decoder and cross-attention see what they should', (_, make) => {
  using _s = scope();
  const model = make();
  const [S, T, V] = [7, 5, size.vocabSize];
  const read = (b: PairBatch): Float32Array => pairLogits(model, b).readSync() as Float32Array;
  const nudge = (ids: Int32Array, at: number): Int32Array => ids.map((id, i) => (i === at ? (id + 1) % V : id));
  const before = read(batch);
  // 2.3.2a The decoder's past ignores its future.
  const future = read({ ...batch, inputs: nudge(batch.inputs, 3) });
  expect(future.subarray(0, 3 * V)).toEqual(before.subarray(0, 3 * V));
  expect(future.subarray(3 * V, T * V)).not.toEqual(before.subarray(3 * V, T * V));
  // Every place of the target sees the whole source of its row, and no padding.
  const late = read({ ...batch, source: nudge(batch.source, 6) });
  expect(late.subarray(0, V)).not.toEqual(before.subarray(0, V));
  expect(late.subarray(T * V)).toEqual(before.subarray(T * V));
  const padding = read({ ...batch, source: nudge(batch.source, S + 5) });
  expect(padding).toEqual(before);
  // The encoder sees to the right, too.
  const first = (source: Int32Array) => model.encode(source, [3, S], { lengths: batch.lengths }).slice(1, 0, 1).readSync();
  expect(first(nudge(batch.source, 2))).not.toEqual(first(batch.source));
  dispose(model);
});

test('2.3.2b the encoder output does not depend on the target, and is recorded by name', () => {
  using _s = scope();
  const model = new Transformer(size, new Rng(1));
  const seen = (b: PairBatch) => {
    const all = new Map<string, Tensor>();
    pairLogits(model, b, { record: (name, value) => all.set(name, value) });
    return all;
  };
  const [one, two] = [seen(batch), seen({ ...batch, inputs: someIds(15, 11) })];
  expect([...one.keys()].filter((k) => k.includes('attn'))).toEqual([
    'encoder.blocks.0.attn.weights',
    'encoder.blocks.1.attn.weights',
    'decoder.blocks.0.attn.weights',
    'decoder.blocks.0.cross.attn.weights',
    'decoder.blocks.1.attn.weights',
    'decoder.blocks.1.cross.attn.weights',
  ]);
  const last = 'encoder.blocks.1.output';
  expect(one.get(last)!.readSync()).toEqual(two.get(last)!.readSync());
  dispose(model);
});

test('label smoothing teaches, and does not measure', () => {
  using _s = scope();
  const model = new Transformer({ ...size, labelSmoothing: 0.3 }, new Rng(1));
  const plain = new Transformer(size, new Rng(1));
  expect(model.loss(batch).itemSync()).toBe(plain.loss(batch).itemSync());
  expect(model.loss(batch, { rng: new Rng(2) }).itemSync()).not.toBe(plain.loss(batch).itemSync());
  dispose(model);
  dispose(plain);
});

test('2.3.1a T5 small has 60,506,624 parameters, the Transformer base of 2017 63,082,496', () => {
  using _s = scope();
  const small = new T5({ vocabSize: 32_128, dModel: 512, nHead: 8, dFF: 2048, nLayer: 1 }, new Rng(1));
  const [encoder, decoder] = [small.encoder, small.decoder].map((stack) => parameterCount(stack.blocks[0]));
  expect(parameterCount(small) + 5 * (encoder + decoder)).toBe(60_506_624);
  dispose(small);
  const base = new Transformer({ vocabSize: 37_000, dModel: 512, nHead: 8, dFF: 2048, nLayer: 1 }, new Rng(1));
  const blocks = [base.encoder, base.decoder].reduce((n, stack) => n + parameterCount(stack.blocks[0]), 0);
  expect(parameterCount(base) + 5 * blocks).toBe(63_082_496);
  dispose(base);
});
