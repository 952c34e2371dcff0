import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { buildDecoder, T5 } from '../models/index.ts';
import { dispose, stateDict } from '../nn/index.ts';
import { Rng } from '../tensor/index.ts';
import { type Family, publishedConfig, type PublishedShape, settingsOfPublished, storedAs, storedBytes } from './hugging-face.ts';
import { bertSettingsOf, loadEncoder } from './hugging-face-bert.ts';
import { loadEncoderDecoder, t5SettingsOf, t5StoredAs } from './hugging-face-t5.ts';
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

/** config.json as the class of these settings is published, with changes; undefined takes a key out. */
const changed = (family: Family, s: PublishedShape, change: object) => () =>
  settingsOfPublished(plain({ ...publishedConfig(family, s), ...change }) as Record<string, unknown>, 'config.json');
const of = (type: string) => settings.find(([name]) => name === type)!;

// Each of these was read as something else than transformers 4.57.1 computes, or would be.
test.each<[type: string, change: object, words: string]>([
  ['gpt2', { scale_attn_by_inverse_layer_idx: true }, 'scale_attn_by_inverse_layer_idx'],
  ['gpt2', { scale_attn_weights: false }, 'scale_attn_weights'],
  ['gpt2', { tie_word_embeddings: false }, 'tie_word_embeddings is false'],
  ['gpt2', { activation_function: 'gelu' }, 'activation_function is "gelu"'],
  ['llama', { hidden_act: 'gelu_pytorch_tanh' }, 'hidden_act is "gelu_pytorch_tanh". Known: silu'],
  ['llama', { rope_scaling: { type: 'su', short_factor: [], long_factor: [] } }, 'rope_scaling of the type "su"'],
  ['llama', { rope_scaling: 4 }, 'rope_scaling is 4; expected an object'],
  ['llama', { head_dim: 5 }, 'heads of 5 channels with partial_rotary_factor 1: 5 of them would turn, in pairs'],
  ['qwen2', { use_sliding_window: true, sliding_window: 4, max_window_layers: 1 }, 'use_sliding_window is true'],
  ['smollm3', { use_sliding_window: true, sliding_window: 4 }, 'use_sliding_window is true'],
  ['smollm3', { no_rope_layers: [0, 1] }, 'no_rope_layers [0,1] is not 0 for every n-th of 2 layers'],
  ['gemma2', { hidden_activation: 'gelu' }, 'hidden_activation is "gelu"'],
  ['gemma2', { rope_scaling: { rope_type: 'linear', factor: 2 } }, 'rope_scaling is not read for gemma2'],
  ['gemma2', { layer_types: ['full_attention', 'sliding_attention'] }, 'layer_types is not one full_attention in every 1'],
  ['gemma2', { layer_types: ['full_attention'] }, 'layer_types is not full_attention or sliding_attention for each of the 2'],
  ['gemma3_text', { use_bidirectional_attention: true }, 'use_bidirectional_attention is true'],
  ['gemma3_text', { final_logit_softcapping: 3 }, 'final_logit_softcapping is set'],
  ['qwen2_moe', { qkv_bias: false }, 'qkv_bias is false'],
  ['gpt_neox', { attention_bias: false }, 'attention_bias is false'],
  ['gpt_neox', { rotary_pct: 0.5 }, 'heads of 6 channels with rotary_pct 0.5: 3 of them would turn'],
])('a switch of %s that this reader has not is refused by its name: %j', (type, change, words) => {
  expect(changed(of(type)[1], of(type)[2], change)).toThrow(words);
});

test.each<[type: string, change: object, found: object]>([
  ['gpt2', { layer_norm_epsilon: 1e-3 }, { normEps: 1e-3 }],
  ['smollm3', { no_rope_layers: [1, 1] }, { noRopeEvery: undefined }],
  ['smollm3', { no_rope_layers: [0, 0] }, { noRopeEvery: 1 }],
  ['smollm3', { rope_theta: undefined, num_key_value_heads: undefined }, { ropeBase: 2e6, nKvHead: 4 }],
  ['qwen2', { use_sliding_window: true, sliding_window: 4, max_window_layers: 2 }, { window: undefined }],
  ['qwen3', { head_dim: undefined }, { headDim: 128 }],
  ['mistral', { sliding_window: undefined, num_key_value_heads: undefined }, { window: 4095, nKvHead: 8 }],
  ['mistral', { sliding_window: null, num_key_value_heads: null }, { window: undefined, nKvHead: 2 }],
  [
    'gemma2',
    { attn_logit_softcapping: null, final_logit_softcapping: null },
    { attnSoftcap: undefined, logitSoftcap: undefined },
  ],
  ['gemma2', { attn_logit_softcapping: undefined, tie_word_embeddings: undefined }, { attnSoftcap: 50, tied: true }],
  ['gemma3_text', { layer_types: ['sliding_attention', 'full_attention'], sliding_window_pattern: 6 }, { globalEvery: 2 }],
  [
    'gemma3_text',
    { layer_types: undefined, sliding_window_pattern: undefined, rope_theta: undefined },
    { globalEvery: 6, ropeBase: 1e6 },
  ],
  ['mixtral', { rope_theta: undefined, rms_norm_eps: undefined }, { ropeBase: 1e6, normEps: 1e-5 }],
])('%s with %j is what transformers makes of it', (type, change, found) => {
  const settings: Record<string, unknown> = { ...changed(of(type)[1], of(type)[2], change)() };
  expect(Object.fromEntries(Object.keys(found).map((key) => [key, settings[key]]))).toEqual(found);
});

test('rope_parameters of transformers 5 say what rope_theta and rope_scaling said', () => {
  const without = { rope_theta: undefined, rope_scaling: undefined, rotary_emb_base: undefined, rotary_pct: undefined };
  const read = (type: string, rope_parameters: object, more: object = {}) =>
    changed(of(type)[1], of(type)[2], { ...without, ...more, rope_parameters })();
  expect(read('llama', { rope_type: 'default', rope_theta: 77 })).toMatchObject({ ropeBase: 77 });
  expect(read('llama', { rope_type: 'linear', rope_theta: 77, factor: 3 })).toMatchObject({
    ...{ ropeBase: 77, ropeScaling: { type: 'linear', factor: 3 } },
  });
  expect(read('gpt_neox', { rope_theta: 77, partial_rotary_factor: 0.34 })).toMatchObject({ ropeBase: 77, rotaryDim: 2 });
  const kinds = { full_attention: { rope_theta: 70 }, sliding_attention: { rope_type: 'default', rope_theta: 7 } };
  expect(read('gemma3_text', kinds, { rope_local_base_freq: undefined })).toMatchObject({ ropeBase: 70, localRopeBase: 7 });
  const scaled = { ...kinds, sliding_attention: { rope_type: 'linear', factor: 2, rope_theta: 7 } };
  expect(() => read('gemma3_text', scaled)).toThrow('rope_parameters are not those of full_attention');
});

test.each<[change: object, words: string | object]>([
  [{ is_decoder: true }, 'is_decoder is true'],
  [{ position_embedding_type: 'relative_key' }, 'position_embedding_type "relative_key" is not read'],
  [{ hidden_act: 'quick_gelu' }, 'hidden_act is "quick_gelu"'],
  [
    { model_type: 'roberta', pad_token_id: 3 },
    { firstPosition: 4, contextLength: 28 },
  ],
  [{ model_type: 'camembert' }, { firstPosition: 2, contextLength: 30 }],
  [{ model_type: 'roberta', pad_token_id: -2 }, 'pad_token_id is -2'],
])('an encoder with %j', (change, found) => {
  const config = {
    model_type: 'bert',
    vocab_size: 13,
    hidden_size: 6,
    num_attention_heads: 2,
    max_position_embeddings: 32,
    ...change,
  };
  const read = () => bertSettingsOf(config, 'config.json').settings;
  if (typeof found === 'string') expect(read).toThrow(found);
  else expect(read()).toMatchObject(found);
});

test.each<[change: object, words: string]>([
  [{ tie_word_embeddings: false }, 'tie_word_embeddings is false; the head for masks shares its matrix'],
  [{ hidden_act: 'relu' }, 'hidden_act is "relu"; the head for masks of this class has gelu'],
])('a head for masks that is not ours is refused before a weight is read: %j', (change, words) => {
  const config = {
    ...{ model_type: 'roberta', architectures: ['RobertaForMaskedLM'], vocab_size: 13, hidden_size: 6, num_attention_heads: 2 },
    ...change,
  };
  const source = { config, configFile: 'config.json', source: 'x', weights: undefined as never };
  expect(() => loadEncoder(source)).toThrow(words);
});

test('mT5 begins where T5 does not: gated, with a head of its own; what it computes must agree in both keys', () => {
  const config = { model_type: 'mt5', vocab_size: 13, d_model: 6, d_kv: 3, num_heads: 2, num_layers: 1, d_ff: 8 };
  expect(t5SettingsOf(config, 'config.json').settings).toMatchObject({ gated: true, tied: false });
  expect(t5SettingsOf({ ...config, model_type: 't5' }, 'config.json').settings).toMatchObject({ gated: false, tied: true });
  const five = { transformers_version: '5.24.0', tie_word_embeddings: true };
  expect(t5SettingsOf({ ...config, ...five }, 'config.json').settings.tied).toBe(false); // no 1/√C
  expect(t5SettingsOf({ ...config, ...five, transformers_version: '4.57.1' }, 'config.json').settings.tied).toBe(true);
  const t5 = { ...config, ...five, model_type: 't5', scale_decoder_outputs: false };
  expect(t5SettingsOf(t5, 'config.json').settings.tied).toBe(false);
  expect(t5StoredAs({ gated: true, tied: false }, 'lmHead.weight').aliases).toContain('shared.weight');
  expect(() => t5SettingsOf({ ...config, dense_act_fn: 'relu' }, 'config.json')).toThrow(
    'dense_act_fn is "relu". Known: gelu_new',
  );
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
