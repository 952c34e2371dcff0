import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, expect, test } from 'vitest';
import { buildSpread, decoders, endOfText, tokenizer, tokenizerJson } from '../../test/engines/models.ts';
import { publishedConfig, storedAs } from '../io/hugging-face.ts';
import { loadPretrained, openPublished, openSafetensors, resolveCheckpoint, savePretrained } from '../io/index.ts';
import { dispose } from '../nn/index.ts';
import { scope } from '../tensor/index.ts';
import { exportModel, openForExport } from './export-model.ts';
import { importModel } from './import-model.ts';

const home = mkdtempSync(join(tmpdir(), 'qkv-exchange-'));
afterAll(() => rmSync(home, { recursive: true }));
const [root, source] = [join(home, 'runs'), join(home, 'Some Model')];
const golden = (name: string): string => join(import.meta.dirname, '../../test/parity', name);

beforeEach(() => {
  rmSync(root, { recursive: true, force: true });
  rmSync(source, { recursive: true, force: true });
  const settings = decoders['qwen3'];
  const model = buildSpread(settings);
  savePretrained(source, model, {
    config: publishedConfig('llama', settings, endOfText),
    stored: (ours) => storedAs('llama', ours),
  });
  writeFileSync(join(source, 'tokenizer.json'), tokenizerJson);
  dispose(model);
});

/** The logits of a published thing for a few ids. */
async function logitsOf(path: string): Promise<number[]> {
  const published = await openPublished(path);
  const { model } = loadPretrained(published);
  published.close();
  using _ = scope();
  const logits = [...model.forward(Int32Array.of(3, 1, 4, 1, 5), [1, 5]).readSync()];
  dispose(model);
  return logits;
}

test('a folder becomes a run: weights byte for byte, config, tokenizer, a name of its own, what was found', async () => {
  const found = await importModel(source, { root });
  expect(found).toMatchObject({
    ...{ run: 'Some-Model', kind: 'decoder', family: 'llama', modelType: 'qwen3', container: 'safetensors', dtypes: { F32: 69 } },
    ...{ tokenizer: { kind: 'bpe', vocabSize: tokenizer.vocabSize }, passedOver: [], fresh: [], notes: [] },
  });
  const { folder } = resolveCheckpoint('Some-Model', { root });
  const [theirs, ours] = [source, folder].map((f) => openSafetensors(join(f, 'model.safetensors')));
  expect([...ours.tensors.keys()]).toEqual([...theirs.tensors.keys()]);
  for (const name of theirs.tensors.keys()) expect(Buffer.compare(ours.read(name), theirs.read(name))).toBe(0);
  theirs.close();
  ours.close();
  expect((await importModel(source, { root })).run).toBe('Some-Model-2'); // never over another
  await expect(importModel(source, { root, name: 'Some-Model' })).rejects.toThrow(expect.objectContaining({ code: 'E151' }));
});

test('what is refused leaves nothing behind', async () => {
  writeFileSync(
    join(source, 'config.json'),
    JSON.stringify({ ...publishedConfig('llama', decoders['qwen3']), num_hidden_layers: 7 }),
  );
  await expect(importModel(source, { root })).rejects.toThrow(/"model\.layers\.6\.\S+" is missing/);
  rmSync(join(source, 'config.json'));
  await expect(importModel(source, { root })).rejects.toThrow(expect.objectContaining({ code: 'CONFIG' }));
  mkdirSync(root, { recursive: true });
  expect(readdirSync(root)).toEqual([]);
});

test.each([
  'decoders/gpt2',
  'decoders/gemma3',
  'decoders/phi4-mini',
  'decoders/pythia',
  'encoders/bert-mlm',
  'encoders/electra-sequence',
  'seq2seq/flan-t5',
])('%s comes in, and goes out again as a folder of the same bytes', async (name) => {
  await importModel(golden(name), { root, name: 'm' });
  const path = join(home, name.replace('/', '-'));
  const published = await openForExport('m', { root });
  const made = await exportModel(published, { form: 'hf', path });
  published.close();
  expect(made).toMatchObject({
    dtype: 'kept',
    architecture: JSON.parse(readFileSync(join(golden(name), 'config.json'), 'utf8')).model_type,
  });
  const [theirs, ours] = [golden(name), path].map((f) => openSafetensors(join(f, 'model.safetensors')));
  for (const key of ours.tensors.keys()) expect(Buffer.compare(ours.read(key), theirs.read(key)), key).toBe(0);
  theirs.close();
  ours.close();
  expect(JSON.parse(readFileSync(join(path, 'config.json'), 'utf8'))).toEqual(
    JSON.parse(readFileSync(join(golden(name), 'config.json'), 'utf8')),
  );
});

test('out as GGUF and as a folder of bf16, in again: the same logits, or nearly', async () => {
  await importModel(source, { root, name: 'm' });
  const expected = await logitsOf(source);
  const far = (a: number[]) => Math.max(...a.map((x, i) => Math.abs(x - expected[i])));
  const out = async (form: 'gguf' | 'hf', type: 'f32' | 'q8_0' | 'bf16', path: string) => {
    const published = await openForExport('m', { root });
    await exportModel(published, { form, type, path });
    published.close();
    return path;
  };
  expect(await logitsOf(await out('gguf', 'f32', join(home, 'm.gguf')))).toEqual(expected);
  expect(far(await logitsOf(await out('gguf', 'q8_0', join(home, 'q.gguf'))))).toBeLessThan(0.3);
  const folder = await out('hf', 'bf16', join(home, 'bf16'));
  expect(far(await logitsOf(folder))).toBeLessThan(0.3);
  expect(JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8'))).toMatchObject({ torch_dtype: 'bfloat16' });
  expect(JSON.parse(readFileSync(join(folder, 'tokenizer_config.json'), 'utf8'))).toMatchObject({ eos_token: '<|endoftext|>' });
  const again = await importModel(join(home, 'q.gguf'), { root });
  expect(again).toMatchObject({ run: 'q', container: expect.stringContaining('Q8_0'), tokenizer: { kind: 'bpe' } });
});

test('a BERT as it was pre-trained keeps its pooler and its head for the next sentence', async () => {
  const made = await importModel(golden('tensorflow/google'), { root, name: 'pretrained' });
  expect(made).toMatchObject({ task: 'pretraining', fresh: [] });
  const weights = openSafetensors(join(made.folder, 'step-000000/model.safetensors'));
  expect([...weights.tensors.keys()]).toEqual(
    expect.arrayContaining(['cls.seq_relationship.weight', 'bert.pooler.dense.bias', 'cls.predictions.bias']),
  );
  weights.close();
});

test('out as ONNX: the folder of transformers.js; an encoder as GGUF, an encoder-decoder not', async () => {
  await importModel(golden('seq2seq/t5'), { root, name: 't5' });
  const t5 = await openForExport('t5', { root });
  const made = await exportModel(t5, { form: 'onnx', type: 'f16', path: join(home, 't5-onnx') });
  expect(made.files).toEqual(['onnx/encoder_model_fp16.onnx', 'onnx/decoder_model_merged_fp16.onnx', 'config.json']);
  await expect(exportModel(t5, { form: 'gguf', path: join(home, 'x.gguf') })).rejects.toThrow(
    'GGUF is written for decoders and encoders',
  );
  const bert = await openForExport(golden('encoders/bert-mlm'));
  const gguf = await exportModel(bert, { form: 'gguf', path: join(home, 'bert.gguf') });
  expect(gguf).toMatchObject({ architecture: 'bert', dtype: 'f32' });
  expect(gguf.notes.join(' ')).toMatch(/heads and the pooler are left out/);
  const back = await importModel(join(home, 'bert.gguf'), { root });
  expect(back).toMatchObject({ run: 'bert', kind: 'encoder', task: 'base', container: 'GGUF F32', passedOver: [] });
  const electra = await openForExport(golden('encoders/electra-replaced'));
  await expect(exportModel(electra, { form: 'gguf', path: join(home, 'x.gguf') })).rejects.toThrow(
    'embeddings as wide as its layers',
  );
  bert.close();
  electra.close();
  t5.close();
  expect(readdirSync(home).filter((name) => name.includes('.tmp-'))).toEqual([]);
});
