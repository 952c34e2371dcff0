import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { buildDecoder, T5 } from '../models/index.ts';
import { dispose, stateDict } from '../nn/index.ts';
import { Rng } from '../tensor/index.ts';
import { type Family, publishedConfig, type PublishedShape, settingsOfPublished, storedAs, storedBytes } from './hugging-face.ts';
import { loadEncoderDecoder, t5StoredAs } from './hugging-face-t5.ts';
import { loadPretrained } from './model-weights.ts';
import { nearestName } from './nearest-name.ts';
import { writeSafetensors } from './safetensors.ts';

const shape: PublishedShape = {
  ...{ vocabSize: 29, contextLength: 16, nLayer: 2, nHead: 2, nKvHead: 1, dModel: 12, dFF: 20 },
  ...{ ropeBase: 5000, normEps: 1e-6, tied: true, qkNorm: false, dropout: 0 },
};
const yarn = {
  type: 'yarn',
  factor: 2,
  contextLength: 8,
  betaFast: 30,
  betaSlow: 2,
  attentionFactor: 1.5,
  truncate: false,
} as const;
const llama3 = { type: 'llama3', factor: 8, contextLength: 8, lowFreqFactor: 1, highFreqFactor: 4 } as const;
const experts: PublishedShape = {
  ...shape,
  ...{ tied: false, nExpert: 5, nExpertPerToken: 2, renormalise: true, balanceWeight: 0.02 },
};
const settings: [string, Family, PublishedShape][] = [
  ['gpt2', 'gpt2', { ...shape, nKvHead: 2, dFF: 48, ropeBase: 10_000, normEps: 1e-5 }],
  ['llama', 'llama', { ...shape, tied: false, ropeScaling: llama3 }],
  ['qwen3', 'llama', { ...shape, qkNorm: true, headDim: 4, ropeScaling: yarn }],
  ['qwen2', 'llama', { ...shape, qkvBias: true }],
  ['mistral', 'llama', { ...shape, window: 7 }],
  ['smollm3', 'llama', { ...shape, noRopeEvery: 2 }],
  ['gemma2', 'gemma', { ...shape, window: 7, globalEvery: 2, queryScale: 5, attnSoftcap: 50, logitSoftcap: 30 }],
  ['gemma3_text', 'gemma', { ...shape, qkNorm: true, window: 7, globalEvery: 3, queryScale: 5, localRopeBase: 100 }],
  ['olmo2', 'olmo2', shape],
  ['mixtral', 'mixtral', { ...experts, window: 7 }],
  ['qwen2_moe', 'mixtral', { ...experts, qkvBias: true, dShared: 24, renormalise: false }],
  ['qwen3_moe', 'mixtral', { ...experts, qkNorm: true, headDim: 4 }],
  ['gpt_neox', 'neox', { ...shape, nKvHead: 2, rotaryDim: 4, parallel: false }],
];
const plain = (x: unknown): unknown => JSON.parse(JSON.stringify(x)); // as in the file

test.each(settings)('config.json of %s says all that the settings say', (modelType, family, s) => {
  const published = publishedConfig(family, s);
  expect(published['model_type']).toBe(modelType);
  const back = settingsOfPublished(plain(published) as Record<string, unknown>, 'config.json');
  expect(back).toMatchObject({ ...s, model: family });
});

test('what no published class computes is not written as another one', () => {
  expect(() => publishedConfig('llama', { ...shape, qkNorm: true, window: 3 })).toThrow(
    'no published class has qkNorm and window together',
  );
  expect(() => publishedConfig('llama', { ...shape, rotaryDim: 2, qkNorm: true })).toThrow('qkNorm and rotaryDim together');
  expect(publishedConfig('llama', { ...shape, rotaryDim: 2 })).toMatchObject({ model_type: 'phi3' });
  expect(() => publishedConfig('mixtral', { ...experts, renormalise: false })).toThrow('renormalise false without');
  expect(() => publishedConfig('mixtral', { ...experts, qkvBias: true })).toThrow('qkvBias without dShared');
});

test('what this reader does not know is refused with its value', () => {
  const config = publishedConfig('llama', shape);
  const read = (change: object) => () => settingsOfPublished({ ...config, ...change }, 'config.json');
  expect(read({ model_type: 'mamba' })).toThrow('model_type "mamba". Decoders that are read: gpt2, llama');
  expect(read({ rope_scaling: { rope_type: 'longrope', factor: 2 } })).toThrow('rope_scaling of the type "longrope"');
  expect(read({ hidden_size: -1 })).toThrow('hidden_size is -1; expected a whole number above 0');
  expect(read({ mlp_bias: true })).toThrow('mlp_bias');
  expect(read({ quantization_config: {} })).toThrow('quantised');
});

function folderWith(config: object, tensors: { name: string; shape: readonly number[]; bytes: Uint8Array }[]): string {
  const folder = mkdtempSync(join(tmpdir(), 'qkv-hf-'));
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
  writeSafetensors(
    join(folder, 'model.safetensors'),
    tensors.map((t) => ({ name: t.name, dtype: 'F32' as const, shape: t.shape, bytes: t.bytes })),
  );
  return folder;
}

test('7.2c missing and unexpected tensors are listed with the nearest name', () => {
  const model = buildDecoder({ ...shape, model: 'llama', seed: 1 }, shape.vocabSize);
  const tensors = [...stateDict(model)].map(([ours, t]) => ({
    name: storedAs('llama', ours).name.replace('layers.1.mlp.up_proj', 'layers.1.mlp.upproj'),
    shape: t.shape,
    bytes: storedBytes(t),
  }));
  const extra = { name: 'visual.patch', shape: [1], bytes: new Uint8Array(4) };
  const folder = folderWith(publishedConfig('llama', shape), [...tensors.slice(1), extra]);
  const load = () => loadPretrained(folder);
  expect(load).toThrow('4 tensors do not fit the config');
  expect(load).toThrow('"model.embed_tokens.weight" is missing;');
  expect(load).toThrow('"model.layers.1.mlp.up_proj.weight" is missing (the file has "model.layers.1.mlp.upproj.weight")');
  expect(load).toThrow('"visual.patch" is not part of this model');
  dispose(model);
  rmSync(folder, { recursive: true });
});

test.each(['shared.weight', 'encoder.embed_tokens.weight', 'decoder.embed_tokens.weight', 'lm_head.weight'])(
  '7.2c the tied embedding of T5 is found under the one name that a writer kept: %s',
  (kept) => {
    const model = new T5({ vocabSize: 13, dModel: 6, nHead: 2, nLayer: 1, dFF: 8, nBuckets: 8 }, new Rng(1));
    const tensors = [...stateDict(model)].map(([ours, t]) => ({
      name: ours === 'tokenEmbedding.weight' ? kept : t5StoredAs({ gated: false, tied: true }, ours).name,
      shape: t.shape,
      bytes: storedBytes(t),
    }));
    const folder = folderWith(
      {
        model_type: 't5',
        vocab_size: 13,
        d_model: 6,
        d_kv: 3,
        num_heads: 2,
        num_layers: 1,
        d_ff: 8,
        relative_attention_num_buckets: 8,
      },
      tensors,
    );
    const loaded = loadEncoderDecoder(folder).model;
    expect(loaded.tokenEmbedding.weight.readSync()).toEqual(model.tokenEmbedding.weight.readSync());
    dispose(model);
    dispose(loaded);
    rmSync(folder, { recursive: true });
  },
);

test('the nearest name is the one meant, or none', () => {
  expect(nearestName('h.0.attn.weight', ['h.1.mlp.weight', 'h.0.attn.weights'])).toBe('h.0.attn.weights');
  expect(nearestName('lm_head.weight', ['transformer.wte'])).toBeUndefined();
});
