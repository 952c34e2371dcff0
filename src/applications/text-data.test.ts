import { expect, test } from 'vitest';
import { documentMask } from '../attention/index.ts';
import { IGNORE_INDEX, memoryStream } from '../data/index.ts';
import { type Decoder, Gemma, GPT2, Llama, NeoX, Olmo2 } from '../models/index.ts';
import { dispose } from '../nn/index.ts';
import { noGrad, Rng, scope } from '../tensor/index.ts';
import { documentPlaces } from './text-data.ts';

const size = { vocabSize: 23, contextLength: 13, nLayer: 2, nHead: 2, dModel: 12 };
const rng = new Rng(3);
const lengths = [7, 3, 11, 5];
const starts = lengths.map((_, i) => lengths.slice(0, i).reduce((a, b) => a + b, 0));
const ids = Int32Array.from({ length: starts[3] + lengths[3] }, () => rng.int(size.vocabSize));
const stream = memoryStream(ids, size.vocabSize, starts);

test.each([
  ['gpt2', () => new GPT2(size, new Rng(1))],
  ['llama', () => new Llama(size, new Rng(1))],
  ['neox', () => new NeoX({ ...size, rotaryDim: 2 }, new Rng(1))],
  ['gemma', () => new Gemma({ ...size, window: 13 }, new Rng(1))],
  ['olmo2', () => new Olmo2(size, new Rng(1))],
] as [string, () => Decoder][])(
  '5.1.3d a window of packed documents gives %s the loss of each document alone, ≤ 1e-5',
  (_, make) => {
    using _s = scope();
    const model = make();
    // Tokens 4 … 16: the end of document 0, all of document 1, the beginning of document 2.
    const [from, T] = [4, 13];
    const targets = ids.slice(from + 1, from + 1 + T);
    const { documents, positions, targetTokens } = documentPlaces(stream, [from], T, targets);
    expect([...documents]).toEqual([0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2]);
    expect([...positions]).toEqual([0, 1, 2, 0, 1, 2, 0, 1, 2, 3, 4, 5, 6]);
    expect([...targets].flatMap((t, i) => (t === IGNORE_INDEX ? [i] : []))).toEqual([2, 5]); // a document does not foretell the next
    const batch = { inputs: ids.slice(from, from + T), targets, shape: [1, T] as const };
    const packed = noGrad(() => model.loss(batch, { mask: documentMask(documents, 1, T), positions })).itemSync();
    let [nats, tokens] = [0, 0];
    for (const [a, b] of [
      [4, 7],
      [7, 10],
      [10, 17],
    ]) {
      const n = b - a - (b < 17 ? 1 : 0); // the last one goes on behind the window
      const alone = { inputs: ids.slice(a, a + n), targets: ids.slice(a + 1, a + 1 + n), shape: [1, n] as const };
      nats += noGrad(() => model.loss(alone)).itemSync() * n;
      tokens += n;
    }
    expect(targetTokens).toBe(tokens);
    expect(Math.abs(packed - nats / tokens)).toBeLessThan(1e-5);
    dispose(model);
  },
);

test('without the mask the loss is another one: the test above can fail', () => {
  using _s = scope();
  const model = new GPT2(size, new Rng(1));
  const batch = { inputs: ids.slice(4, 17), targets: ids.slice(5, 18), shape: [1, 13] as const };
  const { documents, positions } = documentPlaces(stream, [4], 13, batch.targets);
  const masked = noGrad(() => model.loss(batch, { mask: documentMask(documents, 1, 13), positions })).itemSync();
  const plain = noGrad(() => model.loss(batch)).itemSync();
  expect(Math.abs(masked - plain)).toBeGreaterThan(1e-4);
  dispose(model);
});
