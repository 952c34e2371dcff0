import { expect, test } from 'vitest';
import { KVCache, QuantizedCache, RotatingCache } from '../attention/index.ts';
import { Llama, RnnTranslator, SourceWriter } from '../models/index.ts';
import { dispose, stateDict } from '../nn/index.ts';
import { memory, noGrad, Rng, scope, Tensor, tidy } from '../tensor/index.ts';
import { beamSearch } from './beam.ts';
import { generate, type Writer } from './generate.ts';

// Equal to transformers token for token: test/parity/decoders.test.ts and seq2seq.test.ts.

/** A model whose texts differ in probability: larger weights than at the start. */
function decided<M extends object>(model: M): M {
  using _ = scope();
  for (const t of stateDict(model).values()) t.copyFrom(t.detach().mul(6));
  return model;
}
const V = 5;
const decoder = () =>
  decided(new Llama({ vocabSize: V, contextLength: 16, nLayer: 2, nHead: 2, dModel: 8, window: 2 }, new Rng(4)));

/** Σ log p of every text of `length` ids after the prompt, by full passes: ids → log p. */
function everyText(model: Llama, prompt: number[], length: number): Map<string, number> {
  const found = new Map<string, number>();
  const visit = (ids: number[], logProb: number): void => {
    if (ids.length === length) return void found.set(`${ids}`, logProb);
    const row = tidy(() => noGrad(() => model.nextLogits(Int32Array.from([...prompt, ...ids]), [1, prompt.length + ids.length])));
    const logits = [...row.readSync()];
    row.free();
    const lse = Math.log(logits.reduce((s, x) => s + Math.exp(x), 0));
    logits.forEach((x, id) => visit([...ids, id], logProb + x - lse));
  };
  visit([], 0);
  return found;
}

test('a beam as wide as all beginnings finds the most probable texts of all, in order', async () => {
  const model = decoder();
  const all = [...everyText(model, [1, 3], 4)].sort((a, b) => b[1] - a[1]);
  const found = await beamSearch(model, [1, 3], { beams: V ** 3, maxTokens: 4, lengthPenalty: 0 });
  found.forEach(({ ids, score, ended }, i) => {
    expect(`${ids}`).toBe(all[i][0]);
    expect(score).toBeCloseTo(all[i][1], 4);
    expect(ended).toBe(false);
  });
  const narrow = await beamSearch(model, [1, 3], { beams: 2, maxTokens: 4, lengthPenalty: 0 });
  expect(narrow[0].score).toBeLessThanOrEqual(found[0].score + 1e-6);
  dispose(model);
});

test('one beam is greedy; nothing is left in memory', async () => {
  const model = decoder();
  const greedy: number[] = [];
  for await (const id of generate(model, [2], { maxTokens: 12, temperature: 0 })) greedy.push(id);
  const live = memory.liveBytes;
  const [{ ids }] = await beamSearch(model, [2], { beams: 1, maxTokens: 12 });
  expect(ids).toEqual(greedy);
  expect(memory.liveBytes).toBe(live);
  dispose(model);
});

test('a recurrent encoder-decoder is searched through its SourceWriter: the score is that of the text, taken whole', async () => {
  const model = decided(new RnnTranslator({ vocabSize: 7, dModel: 8, kind: 'gru' }, new Rng(3)));
  const source = Int32Array.of(3, 4, 5, 6);
  {
    using writer = new SourceWriter(model, source);
    const texts = await beamSearch(writer as Writer, [0], { beams: 3, maxTokens: 6, lengthPenalty: 1, endIds: [1] });
    expect(texts.length).toBe(3);
    for (const { ids, score, ended } of texts) {
      using _ = scope();
      const written = ended ? [...ids, 1] : ids;
      const inputs = Int32Array.from([0, ...written.slice(0, -1)]);
      const shape = [1, inputs.length] as const;
      const loss = model.loss({ source, sourceShape: [1, 4], inputs, targets: Int32Array.from(written), shape });
      expect(score).toBeCloseTo(-loss.itemSync(), 4); // the mean log p: a penalty of 1
    }
  }
  dispose(model);
});

test('a text of low probability that ends at once wins when short texts are favoured, and a wrong request is refused', async () => {
  const model = decoder();
  const [short] = await beamSearch(model, [2], { beams: 4, maxTokens: 9, lengthPenalty: -2, endIds: [0, 1, 2, 3] });
  const [long] = await beamSearch(model, [2], { beams: 4, maxTokens: 9, lengthPenalty: 3, earlyStopping: 'never', endIds: [0] });
  expect(short.ids.length).toBeLessThan(long.ids.length);
  await expect(beamSearch(model, [], {})).rejects.toThrow('the prompt is empty');
  await expect(beamSearch(model, [1, 2], { maxTokens: 16 })).rejects.toThrow(
    'a prompt of 2 ids and 16 more do not fit a context of 16',
  );
  await expect(beamSearch(model, [1], { beams: 0 })).rejects.toThrow('beams is 0');
  dispose(model);
});

test.each([
  ['full', () => new KVCache(3, 2, 8, 5)],
  ['rotating', () => new RotatingCache(3, 2, 2, 5)],
  ['eight bits', () => new QuantizedCache(3, 2, 8, 5)],
] as const)('a %s cache goes on with the sequences that are selected', (_name, make) => {
  using _ = scope();
  using cache = make();
  const rng = new Rng(1);
  const x = (): Tensor => Tensor.normal([3, 2, 3, 5], 1, rng);
  const [k, v] = cache.append(x(), x());
  const before = [k.readSync().slice(), v.readSync().slice()];
  const size = before[0].length / 3;
  cache.select([2, 2, 0]);
  const after = cache.append(x(), x()).map((t) => t.slice(2, 0, k.shape[2]));
  const shown = cache instanceof RotatingCache ? 2 : 3; // a window of two is all that is held
  after.forEach((t, i) => {
    const rows = t.slice(2, 0, shown).readSync();
    const wanted = [2, 2, 0].flatMap((from) => [...before[i].subarray(from * size, (from + 1) * size)]);
    const held = [...Array(6).keys()].flatMap((bh) => wanted.slice((bh * 3 + (3 - shown)) * 5, (bh * 3 + 3) * 5));
    expect([...rows]).toEqual(held);
  });
});
