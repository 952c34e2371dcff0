import { expect, test } from 'vitest';
import { dispose, parameterCount, stateDict } from '../nn/index.ts';
import { Rng, scope, type Tensor } from '../tensor/index.ts';
import { AdamW, cosine, train } from '../train/index.ts';
import { Bert, type BertConfig, bertVariants } from './bert.ts';
import { MaskedLM, meanPool, ReplacedTokenDetector, SequenceClassifier, SpanReader, TokenClassifier } from './bert-heads.ts';

const size: BertConfig = { vocabSize: 29, contextLength: 16, nLayer: 2, nHead: 2, dModel: 12 };
const rng = () => new Rng(1);
const someIds = (n: number, seed = 7, below = size.vocabSize): Int32Array => {
  const draw = new Rng(seed);
  return Int32Array.from({ length: n }, () => draw.int(below));
};
const shape = [3, 11] as const;
const inputs = someIds(33);
const masked = someIds(33, 8).map((id, i) => (i % 3 === 0 ? id : -100));
const bert = (more: Partial<BertConfig> = {}) => new Bert({ ...size, ...more }, rng());

const tasks: [string, () => { model: object; loss: () => Tensor }][] = [
  ...Object.entries(bertVariants).map(([name, variant]): [string, () => { model: object; loss: () => Tensor }] => [
    `${name}, masked LM`,
    () => {
      const model = new MaskedLM(bert(variant), rng());
      return { model, loss: () => model.loss({ inputs, targets: masked, shape }) };
    },
  ]),
  [
    'classification',
    () => {
      const model = new SequenceClassifier(bert(), 5, rng());
      return { model, loss: () => model.loss({ inputs, labels: Int32Array.of(3, 0, 4), shape }) };
    },
  ],
  [
    'tokens',
    () => {
      const model = new TokenClassifier(bert(bertVariants.distilbert), 5, rng());
      return { model, loss: () => model.loss({ inputs, labels: someIds(33, 9, 5), shape }) };
    },
  ],
  [
    'answers',
    () => {
      const model = new SpanReader(bert(), rng());
      return { model, loss: () => model.loss({ inputs, shape, starts: Int32Array.of(1, 5, 2), ends: Int32Array.of(2, 9, 10) }) };
    },
  ],
  [
    'replaced tokens',
    () => {
      const model = new ReplacedTokenDetector(bert({ ...bertVariants.electra, embeddingSize: 8 }), rng());
      return { model, loss: () => model.loss({ inputs, labels: someIds(33, 9, 2), shape }) };
    },
  ],
];

test.each(tasks)('2.3.3a, 7.2b BERT, %s: overfits one batch to a loss below 0.01 in 300 steps', async (_, make) => {
  const { model, loss } = make();
  const optimizer = new AdamW(stateDict(model), { weightDecay: 0, beta2: 0.99 });
  let last = Infinity;
  const schedule = cosine({ peak: 1e-2, final: 1e-3, warmup: 20, steps: 300 });
  for await (const report of train(model, { steps: 300, batch: () => undefined, loss, optimizer, schedule, clip: 1 })) {
    last = report.lossNats;
    if (last < 0.01) break;
  }
  expect(last).toBeLessThan(0.01);
  optimizer.dispose();
  dispose(model);
});

test.each(tasks.slice(0, 4))('2.3.3b BERT, %s: the first loss is ln V ± 0.1', (_, make) => {
  using _s = scope();
  const { model, loss } = make();
  expect(Math.abs(loss().itemSync() - Math.log(size.vocabSize))).toBeLessThan(0.1);
  dispose(model);
});

test('BERT: every token sees the later ones, and nobody sees padding', () => {
  using _s = scope();
  const model = bert();
  const ids = someIds(22);
  const [C, T] = [size.dModel, 11];
  const changed = ids.slice();
  changed[9] = (ids[9] + 1) % size.vocabSize; // row 0, place 9
  const read = (x: Int32Array, lengths?: number[]) => model.hidden(x, [2, T], { lengths }).readSync() as Float32Array;
  const [before, after] = [read(ids), read(changed)];
  expect(after.subarray(0, C)).not.toEqual(before.subarray(0, C));
  expect(after.subarray(T * C)).toEqual(before.subarray(T * C)); // the other row knows nothing of it
  const [short, padded] = [read(ids, [9, 11]), read(changed, [9, 11])];
  expect(padded.subarray(0, 9 * C)).toEqual(short.subarray(0, 9 * C));
  const alone = model.hidden(ids.slice(0, 9), [1, 9]).readSync();
  alone.forEach((v, i) => expect(short[i]).toBeCloseTo(v, 5));
  dispose(model);
});

test('BERT: dropout acts only while training, and the mean of the real tokens has length 1', () => {
  using _s = scope();
  const model = bert({ dropout: 0.5 });
  const read = (ctx: object) => model.hidden(inputs, shape, ctx).readSync();
  expect(read({})).toEqual(read({}));
  expect(read({ rng: rng() })).not.toEqual(read({}));
  const lengths = [11, 3, 1];
  const x = model.hidden(inputs, shape, { lengths });
  const pooled = meanPool(x, lengths);
  const values = x.readSync();
  const last = values.subarray(22 * 12, 23 * 12); // a text of one token: its own direction
  const norm = Math.hypot(...last);
  (pooled.readSync() as Float32Array).subarray(24).forEach((v, i) => expect(v).toBeCloseTo(last[i] / norm, 5));
  pooled
    .square()
    .sum({ axis: -1 })
    .readSync()
    .forEach((v) => expect(v).toBeCloseTo(1, 5));
  dispose(model);
});

test('2.3.1a BERT base has 109,482,240 parameters, pooler included', () => {
  using _s = scope();
  const one = new Bert({ vocabSize: 30_522, contextLength: 512, nLayer: 1, nHead: 12, dModel: 768 }, rng());
  expect(parameterCount(one) + 11 * parameterCount(one.blocks[0])).toBe(109_482_240);
  dispose(one);
});
