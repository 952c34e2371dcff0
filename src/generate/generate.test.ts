import { expect, test } from 'vitest';
import { Llama } from '../models/llama.ts';
import { dispose } from '../nn/index.ts';
import { memory, Rng } from '../tensor/index.ts';
import { candidates, generate, generateBatch, sample, StopStrings } from './index.ts';

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
