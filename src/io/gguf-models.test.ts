import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import {
  buildSpread,
  decoders,
  endOfText,
  sentencePieces,
  someText,
  tokenizer,
  tokenizerJson,
} from '../../test/engines/models.ts';
import { dispose, stateDict } from '../nn/index.ts';
import { tokenizerFromJson, tokenizerToJson, trainBpe } from '../tokenizers/index.ts';
import { openGguf } from './gguf.ts';
import { architectureOf, ggufName, ourName } from './gguf-models.ts';
import { saveGguf } from './gguf-save.ts';
import { loadPretrained } from './model-weights.ts';
import { openPublished } from './published.ts';

const folder = mkdtempSync(join(tmpdir(), 'qkv-gguf-models-'));
afterAll(() => rmSync(folder, { recursive: true }));
const path = join(folder, 'm.gguf');
const ids = { eos: [endOfText] };

test.each(Object.keys(decoders))('%s: written and read back, every weight is the same', async (name) => {
  const model = buildSpread(decoders[name]);
  const { architecture } = saveGguf(path, { model, settings: decoders[name], type: 'F32', tokenizerJson, ids });
  const published = await openPublished(path);
  const back = loadPretrained(published);
  expect(architecture).toBe(architectureOf(back.settings));
  const [ours, theirs] = [stateDict(model), stateDict(back.model)];
  expect([...theirs.keys()]).toEqual([...ours.keys()]);
  // Gemma's norms gain and lose 1 on the way: one rounding.
  const near = decoders[name].model === 'gemma' ? 1e-6 : 0;
  for (const [key, t] of ours) {
    const [a, b] = [t.readSync() as Float32Array, theirs.get(key)!.readSync()];
    expect(
      a.reduce((worst, x, i) => Math.max(worst, Math.abs(x - b[i])), 0),
      key,
    ).toBeLessThanOrEqual(near);
  }
  published.close();
  dispose(model);
  dispose(back.model);
});

test('names there and back', () => {
  for (const ours of [
    'tokenEmbedding.weight',
    'blocks.11.attn.qNorm.weight',
    'blocks.0.mlp.upProj.bias',
    'norm.bias',
    'lmHead.weight',
  ])
    expect(ourName(ggufName(ours))).toBe(ours);
  expect(ourName('blk.0.ssm_in.weight')).toBeUndefined();
});

test('what llama.cpp does not compute is refused with the reason, not written as another model', () => {
  const { llama, gemma2, gemma3, smollm3 } = decoders;
  expect(() => architectureOf({ ...llama, qkNorm: true, qkvBias: true })).toThrow(
    'no architecture of llama.cpp has qkNorm and qkvBias',
  );
  expect(() => architectureOf({ ...gemma2, queryScale: 7 })).toThrow('√7');
  expect(() => architectureOf({ ...gemma3, globalEvery: 2 })).toThrow('every 6th layer');
  expect(() => architectureOf({ ...smollm3, noRopeEvery: 2 })).toThrow('every 4th layer');
});

test('a sliding window that llama.cpp lacks ends the context instead', () => {
  const model = buildSpread({ ...decoders['mistral'], window: 10 });
  const { notes } = saveGguf(path, { model, settings: { ...decoders['mistral'], window: 10 }, type: 'F16', tokenizerJson, ids });
  expect(notes).toEqual(['context_length is 11: llama.cpp has no sliding window for llama']);
  const file = openGguf(path);
  expect(file.metadata.get('llama.context_length')).toEqual({ type: 'u32', value: 11 });
  expect(file.tensors.get('blk.0.attn_q.weight')!.type).toBe('F16');
  expect(file.tensors.get('blk.0.attn_norm.weight')!.type).toBe('F32');
  file.close();
  dispose(model);
});

test('rows that are no whole blocks fall back, and it is told', () => {
  const model = buildSpread({ ...decoders['llama'], nLayer: 1 }); // 64 and 96 channels
  const { counts, notes } = saveGguf(path, {
    model,
    settings: { ...decoders['llama'], nLayer: 1 },
    type: 'Q4_K',
    tokenizerJson,
    ids,
  });
  expect(counts).toEqual({ Q4_0: 8, Q8_0: 1, F32: 3 });
  expect(notes).toEqual(['8 matrices are q4_0: their rows are no whole blocks of q4_k']);
  dispose(model);
});

test('the tokenizer comes back: bytes, sentence pieces, and the tokens around a text', async () => {
  const pieces = sentencePieces();
  const qwen = trainBpe([someText(40)], { vocabSize: 330, pattern: 'qwen2', specialTokens: ['<|endoftext|>'] });
  for (const [original, json] of [
    [tokenizer, tokenizerJson],
    [pieces.tokenizer, pieces.json],
    [qwen, tokenizerToJson(qwen)],
  ] as const) {
    const settings = { ...decoders['llama'], vocabSize: original.vocabSize + 3, nLayer: 1 }; // a padded table
    const model = buildSpread(settings);
    saveGguf(path, { model, settings, type: 'F32', tokenizerJson: json });
    const published = await openPublished(path);
    const back = tokenizerFromJson(published.tokenizerJson);
    for (const text of ['the decoder looks back at 第42句', '  said,\n\nthe\ttext ', 'whole 𝄞é text', 'a1234b'])
      for (const addSpecialTokens of [false, true])
        expect([...back.encode(text, { addSpecialTokens })], text).toEqual([...original.encode(text, { addSpecialTokens })]);
    expect(back.decode(original.encode('whole text'))).toBe(original.decode(original.encode('whole text')));
    published.close();
    dispose(model);
  }
});

test('a way to cut texts that llama.cpp lacks is told, and a tokenizer that it lacks is refused', () => {
  const cjk = trainBpe([someText(40)], { vocabSize: 330, pattern: 'cjk', specialTokens: ['<|endoftext|>'] });
  const settings = { ...decoders['llama'], vocabSize: cjk.vocabSize, nLayer: 1 };
  const model = buildSpread(settings);
  const save = (json: string) => saveGguf(path, { model, settings, type: 'F32', tokenizerJson: json });
  expect(save(tokenizerToJson(cjk)).notes[0]).toMatch(/no such way to cut a text/);
  expect(() => save(JSON.stringify({ model: { type: 'WordPiece', vocab: {} } }))).toThrow('WordPiece');
  dispose(model);
});
