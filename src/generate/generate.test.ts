import { expect, test } from 'vitest';
import { Gemma, GPT2, Llama, Mixtral, NeoX, Olmo2 } from '../models/index.ts';
import { dispose, parameters } from '../nn/index.ts';
import { memory, noGrad, Rng, tidy } from '../tensor/index.ts';
import { candidates, generate, generateBatch, sample, StopStrings, type Writer } from './index.ts';

const collect = async (it: AsyncIterable<number>): Promise<number[]> => {
  const out: number[] = [];
  for await (const id of it) out.push(id);
  return out;
};
const model = () => new Llama({ vocabSize: 23, contextLength: 16, nLayer: 2, nHead: 2, dModel: 16 }, new Rng(4));

test('the same seed writes the same ids, alone and in a batch, past the end of the context, and frees what it used', async () => {
  const m = model();
  await collect(generate(m, [1], { maxTokens: 20 })); // makes the rotary table
  const live = memory.liveBytes;
  const prompts = [[1, 2, 3], [5], Array.from({ length: 40 }, (_, i) => i % 23)];
  const options = { maxTokens: 40, seed: 9, temperature: 0.8, topK: 10 };
  const alone = [];
  for (const p of prompts) alone.push(await collect(generate(m, p, options)));
  const together: number[][] = [[], [], []];
  for await (const step of generateBatch(m, prompts, options)) step.forEach((id, i) => together[i].push(id));
  expect(together).toEqual(alone);
  expect(alone[0]).toHaveLength(40);
  expect(memory.liveBytes).toBe(live);
  dispose(m);
});

const size = { vocabSize: 23, contextLength: 48, nLayer: 2, nHead: 4, dModel: 32 };
const families: Record<string, () => Writer & object> = {
  'GPT-2': () => new GPT2(size, new Rng(4)),
  'Llama, shared keys': () => new Llama({ ...size, nKvHead: 2, qkNorm: true }, new Rng(4)),
  'Llama, a window in full caches': () => new Llama({ ...size, contextLength: 16, window: 7 }, new Rng(4)),
  'Llama, rotating caches': () => new Llama({ ...size, window: 5 }, new Rng(4)), // each by itself
  'Llama, dynamic angles': () =>
    new Llama({ ...size, ropeScaling: { type: 'dynamic', factor: 2, contextLength: 12 } }, new Rng(4)),
  Gemma: () => new Gemma({ ...size, contextLength: 16, nKvHead: 1, window: 7, globalEvery: 2, dFF: 64, headDim: 8 }, new Rng(4)),
  Mixtral: () => new Mixtral({ ...size, nExpert: 4, nExpertPerToken: 2, dFF: 64 }, new Rng(4)),
  NeoX: () => new NeoX(size, new Rng(4)),
  OLMo2: () => new Olmo2(size, new Rng(4)),
};
/** Large weights: small ones give logits that differ little, and a wrong key would not be noticed. */
function sharpen(model: object): void {
  for (const p of Object.values(parameters(model))) if (p.shape.length === 2) tidy(() => noGrad(() => p.copyFrom(p.mul(8))));
}

test.each(Object.entries(families))(
  'texts of unequal length decoded together are those decoded alone: %s',
  async (name, make) => {
    const before = memory.liveBytes;
    const m = make();
    sharpen(m);
    const prompts = [[1, 2, 3], [5], [7, 7, 2, 9, 11, 3, 1, 0, 4], Array.from({ length: 13 }, (_, i) => (i * i) % 23), [8]];
    let widest = 0;
    const watched: Writer = {
      config: m.config,
      unevenRows: m.unevenRows,
      newCaches: (...a) => m.newCaches(...a),
      nextLogits(ids, shape, ctx) {
        widest = Math.max(widest, shape[0]);
        return m.nextLogits(ids, shape, ctx);
      },
    };
    for (const options of [{ temperature: 0 }, { temperature: 0.9, seed: 3 }, { temperature: 0.9, seed: 3, stopIds: [4, 6] }]) {
      const alone = [];
      for (const p of prompts) alone.push(await collect(generate(m, p, { ...options, maxTokens: 60 })));
      const together: number[][] = prompts.map(() => []);
      for await (const step of generateBatch(watched, prompts, { ...options, maxTokens: 60 }))
        for (const [i, id] of step.entries()) if (id >= 0) together[i].push(id);
      expect(together).toEqual(alone);
      if (options.temperature) expect(new Set(alone.flat()).size).toBeGreaterThan(8);
    }
    expect(widest).toBe(name.includes('rotating') ? 1 : name.includes('dynamic') ? 2 : 5);
    dispose(m);
    expect(memory.liveBytes).toBe(before);
  },
);

test('a stop id ends one text and not the others', async () => {
  const m = model();
  const first = (await collect(generate(m, [3], { maxTokens: 1, temperature: 0 })))[0];
  expect(await collect(generate(m, [3], { maxTokens: 5, temperature: 0, stopIds: [first] }))).toEqual([]);
  dispose(m);
});

test('temperature 0 takes the most probable; filters keep what they say', () => {
  const logits = Float32Array.from([0, 3, 1, 2]);
  expect(sample(logits, { temperature: 0 }, new Rng(1))).toBe(1);
  const p = (o: Parameters<typeof candidates>[2]) => candidates(Float64Array.from(logits), 1, o).map((c) => c.id);
  expect(p({ topK: 2 })).toEqual([1, 3]);
  expect(p({ topP: 0.64 })).toEqual([1]); // softmax: .644 .237 .087 .032
  expect(p({ topP: 0.7 })).toEqual([1, 3]);
  expect(p({ minP: 0.1 })).toEqual([1, 3, 2]);
  expect(sample(Float32Array.from([5, 4.9]), { temperature: 0, repetitionPenalty: 1.5 }, new Rng(1), [0])).toBe(1);
});

test('draws follow the probabilities', () => {
  const logits = Float32Array.from([Math.log(0.7), Math.log(0.2), Math.log(0.1)]);
  const counts = [0, 0, 0];
  const rng = new Rng(11);
  for (let i = 0; i < 20_000; i++) counts[sample(logits, {}, rng)]++;
  expect(counts[0] / 20_000).toBeCloseTo(0.7, 1.5);
  expect(Math.abs(counts[1] / 20_000 - 0.2)).toBeLessThan(0.01);
  expect(Math.abs(counts[2] / 20_000 - 0.1)).toBeLessThan(0.01);
});

test('a stop string that is split over pieces is found and never shown', () => {
  const s = new StopStrings(['<end>', '\n\n']);
  const shown = ['Hel', 'lo <', 'b> <e', 'nd> more'].map((p) => s.push(p)).join('');
  expect(shown + s.end()).toBe('Hello <b> ');
  expect(s.stopped).toBe(true);
  const t = new StopStrings(['xyz']);
  expect(t.push('abxy') + t.push('q') + t.end()).toBe('abxyq');
});
