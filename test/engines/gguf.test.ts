// The GGUF files that we write, run by llama.cpp: the same ids of a text, the same 24 greedy ids, the same probabilities.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { loadPretrained, openPublished } from '../../src/io/index.ts';
import type { WritableType } from '../../src/io/gguf-quant.ts';
import { saveGguf } from '../../src/io/gguf-save.ts';
import type { Decoder } from '../../src/models/index.ts';
import { dispose } from '../../src/nn/index.ts';
import { scope } from '../../src/tensor/index.ts';
import { byteTokenizer, charTokenizer, tokenizerFromJson, tokenizerToJson } from '../../src/tokenizers/index.ts';
import { askLlama } from './llama-cpp.ts';
import {
  buildSpread,
  decoders,
  endOfText,
  greedyIds,
  logProbabilities,
  sentencePieces,
  someText,
  tokenizer,
  tokenizerJson,
} from './models.ts';

const folder = mkdtempSync(join(tmpdir(), 'qkv-gguf-'));
afterAll(() => rmSync(folder, { recursive: true }));
const path = join(folder, 'm.gguf');
const text = 'the decoder looks back at 第42句, said the text';
const prompt = [...tokenizer.encode(text)];
const ids = { eos: [endOfText] };

function logProbsOf(model: Decoder): Float64Array[] {
  using _ = scope();
  return logProbabilities(model.forward(Int32Array.from(prompt), [1, prompt.length]).readSync() as Float32Array, prompt.length);
}
/** Largest |Δ log p| of ids that have at least e⁻¹² . */
function farthest(ours: Float64Array[], theirs: Map<number, number>[]): number {
  let worst = 0;
  for (const [t, row] of ours.entries())
    for (const [id, logP] of theirs[t]) if (row[id] > -12) worst = Math.max(worst, Math.abs(logP - row[id]));
  return worst;
}

/** ggml takes GELU from a table of half-precision numbers, for every 16-bit input. */
const gelu = new Set(['gpt2', 'gptneox', 'gemma2', 'gemma3']);

describe('f32 in llama.cpp', () => {
  test.each(Object.keys(decoders))('%s: ids of a text, 24 greedy ids, probabilities', async (name) => {
    const model = buildSpread(decoders[name]);
    saveGguf(path, { model, settings: decoders[name], type: 'F32', tokenizerJson, ids });
    const theirs = await askLlama(path, { text, prompt, count: 24 });
    const greedy = await greedyIds(model, prompt, 24);
    const worst = farthest(logProbsOf(model), theirs.logProbs);
    console.log(
      `${name}: largest difference of log p ${worst.toExponential(1)}, greedy ${`${theirs.greedy}` === `${greedy}` ? 'equal' : 'differs'}`,
    );
    expect(theirs.ids).toEqual(prompt);
    expect(theirs.greedy).toEqual(greedy);
    expect(theirs.text).toBe(tokenizer.decode(greedy));
    expect(worst).toBeLessThan(gelu.has(name) ? 5e-3 : 1e-4);
    dispose(model);
  });
});

/** Widths of whole blocks of 256. */
const wide = { nLayer: 2, dModel: 256, dFF: 512, headDim: 32, nHead: 8, nKvHead: 4 };
/** What the activations lose in llama.cpp, which multiplies blocks by activations in 8 bits; bf16 and f16 by activations in 16. */
const bounds: [WritableType, far: number][] = [
  ['F16', 0.02],
  ['BF16', 0.1],
  ['Q8_0', 0.2],
  ['Q4_0', 0.2],
  ['Q4_K', 0.2],
];
describe.each(bounds)('%s in llama.cpp', (type, far) => {
  test.each(['llama', 'qwen3', 'gpt2', 'gemma3'])('%s computes what the same blocks give here', async (name) => {
    const settings = {
      ...decoders[name],
      ...wide,
      ...(name === 'gpt2' ? { nKvHead: 8, dFF: 1024 } : {}),
      ...(name === 'gemma3' ? { queryScale: 32 } : {}),
    };
    const model = buildSpread(settings);
    const { counts } = saveGguf(path, { model, settings, type, tokenizerJson, ids });
    expect(counts[type]).toBeGreaterThan(6);
    const theirs = await askLlama(path, { text, prompt, count: 1 });
    const published = await openPublished(path);
    const back = loadPretrained(published);
    const worst = farthest(logProbsOf(back.model), theirs.logProbs);
    const [exact, packed] = [logProbsOf(model), logProbsOf(back.model)];
    const kl =
      exact.reduce((sum, row, t) => sum + row.reduce((s, p, id) => s + Math.exp(p) * (p - packed[t][id]), 0), 0) / exact.length;
    console.log(
      `${name} ${type}: largest difference of log p to ours on the same blocks ${worst.toExponential(1)}, KL from f32 ${kl.toExponential(1)} nats`,
    );
    expect(worst).toBeLessThan(far);
    published.close();
    dispose(model);
    dispose(back.model);
  });
});

test('a tokenizer of Llama 2’s kind: llama.cpp cuts as we do, and its file read back cuts the same', async () => {
  const { json, tokenizer: pieces } = sentencePieces();
  const settings = { ...decoders['llama'], vocabSize: pieces.vocabSize, nLayer: 1 };
  const model = buildSpread(settings);
  saveGguf(path, { model, settings, type: 'F32', tokenizerJson: json, ids: { bos: 1, eos: [2] } });
  const published = await openPublished(path);
  const back = tokenizerFromJson(published.tokenizerJson);
  for (const sample of ['the decoder looks back', 'whole text, 第7句', ' tawhile  a', '𝄞 zq\n']) {
    const expected = [...pieces.encode(sample)];
    const theirs = await askLlama(path, { text: sample, prompt: expected, count: 2 });
    expect(theirs.ids).toEqual(expected);
    expect([...back.encode(sample)]).toEqual(expected);
    expect([...back.encode(sample, { addSpecialTokens: true })]).toEqual([1, ...expected]);
  }
  published.close();
  dispose(model);
});

test.each([
  ['characters', charTokenizer(someText())],
  ['bytes', byteTokenizer()],
])('a tokenizer of %s, without a token that ends a text', async (_, tokenizer) => {
  const settings = { ...decoders['llama'], vocabSize: tokenizer.vocabSize, nLayer: 1 };
  const model = buildSpread(settings);
  saveGguf(path, { model, settings, type: 'F32', tokenizerJson: tokenizerToJson(tokenizer) });
  const expected = [...tokenizer.encode('the decoder looks back at 第73句,\n')];
  const theirs = await askLlama(path, { text: tokenizer.decode(expected), prompt: expected, count: 24 });
  expect(theirs.ids).toEqual(expected);
  expect(theirs.greedy).toEqual(await greedyIds(model, expected, 24));
  dispose(model);
});
