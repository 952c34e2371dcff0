// config.json of the decoders with rotary positions → our settings: Llama and its relatives, Gemma, GPT-NeoX.

import { expertsOf } from './hugging-face-experts.ts';
import type { Family, PublishedShape } from './hugging-face.ts';
import { oldRopeKeys, ropeScalingOf } from './hugging-face-rope.ts';
import { PublishedConfig } from './published-config.ts';

/** How transformers calls its classes, by the model_type of config.json, and the family of ours that computes the same. */
export const classes = {
  llama: ['llama', 'LlamaForCausalLM'],
  mistral: ['llama', 'MistralForCausalLM'],
  qwen2: ['llama', 'Qwen2ForCausalLM'],
  qwen3: ['llama', 'Qwen3ForCausalLM'],
  smollm3: ['llama', 'SmolLM3ForCausalLM'],
  phi3: ['llama', 'Phi3ForCausalLM'],
  gemma2: ['gemma', 'Gemma2ForCausalLM'],
  gemma3_text: ['gemma', 'Gemma3ForCausalLM'],
  olmo2: ['olmo2', 'Olmo2ForCausalLM'],
  mixtral: ['mixtral', 'MixtralForCausalLM'],
  qwen2_moe: ['mixtral', 'Qwen2MoeForCausalLM'],
  qwen3_moe: ['mixtral', 'Qwen3MoeForCausalLM'],
  gpt_neox: ['neox', 'GPTNeoXForCausalLM'],
} as const satisfies Record<string, readonly [Family, string]>;
export type ModelType = keyof typeof classes;

/** What a class of transformers 4.57 takes for a key that config.json lacks, where it is not what most of them take. */
const absent: Partial<Record<ModelType, Record<string, unknown>>> = {
  mistral: { num_key_value_heads: 8, sliding_window: 4096 },
  qwen2: { num_key_value_heads: 32 },
  qwen3: { num_key_value_heads: 32, head_dim: 128 },
  smollm3: { num_key_value_heads: 4, rope_theta: 2e6, tie_word_embeddings: true },
  phi3: { rms_norm_eps: 1e-5 },
  gemma2: {
    ...{ num_key_value_heads: 4, head_dim: 256, tie_word_embeddings: true },
    ...{ attn_logit_softcapping: 50, final_logit_softcapping: 30 },
  },
  gemma3_text: { num_key_value_heads: 4, head_dim: 256, tie_word_embeddings: true, rope_theta: 1e6 },
  olmo2: { rms_norm_eps: 1e-5 },
  mixtral: { num_key_value_heads: 8, rope_theta: 1e6, rms_norm_eps: 1e-5 },
  qwen2_moe: { num_key_value_heads: 16 },
  qwen3_moe: { num_key_value_heads: 4 },
};

type Settings = PublishedShape & { model: Family };

/** config.json of a decoder with rotary positions as our settings. @throws CheckpointError CONFIG */
export function switchesOf(published: PublishedConfig): Settings {
  if (!Object.hasOwn(classes, published.modelType))
    published.fail(
      `model_type ${JSON.stringify(published.values['model_type'])}`,
      `Decoders that are read: gpt2, ${Object.keys(classes).join(', ')}; others: bert and its relatives, t5, mt5`,
    );
  const type = published.modelType as ModelType;
  const c = new PublishedConfig({ ...absent[type], ...oldRopeKeys(published) }, published.file);
  if (c.has('quantization_config')) c.fail('the weights are quantised', 'Use the folder with bf16 or f16 weights');
  if (type === 'gpt_neox') return neox(c);
  const common = rotaryCommon(c, type);
  switch (type) {
    case 'gemma2':
      if (common.ropeScaling) c.fail('rope_scaling is not read for gemma2');
      return {
        ...common,
        ...gemma(c, type, common.nLayer),
        ...(c.has('attn_logit_softcapping') ? { attnSoftcap: c.number('attn_logit_softcapping', 0) } : {}),
        ...(c.has('final_logit_softcapping') ? { logitSoftcap: c.number('final_logit_softcapping', 0) } : {}),
      };
    case 'gemma3_text':
      if (c.has('final_logit_softcapping') || c.has('attn_logit_softcapping'))
        c.fail('attn_logit_softcapping or final_logit_softcapping is set; Gemma 3 has no soft caps in this reader');
      if (c.flag('use_bidirectional_attention', false))
        c.fail('use_bidirectional_attention is true; Gemma is a decoder in this reader');
      return {
        ...common,
        ...gemma(c, type, common.nLayer),
        ...{ qkNorm: true, localRopeBase: c.number('rope_local_base_freq', 10_000) },
      };
    case 'mistral':
    case 'phi3':
      return c.has('sliding_window') ? { ...common, window: c.whole('sliding_window') - 1 } : common;
    case 'qwen2':
    case 'qwen3':
      noWindows(c, common.nLayer, (i) => i < c.number('max_window_layers', 28));
      return { ...common, qkNorm: type === 'qwen3', qkvBias: type === 'qwen2' };
    case 'smollm3':
      noWindows(c, common.nLayer, () => false);
      return { ...common, ...layersWithoutPositions(c, common.nLayer) };
    case 'olmo2':
      if (common.ropeScaling || common.headDim) c.fail('rope_scaling and head_dim are not read for olmo2');
      return common;
    case 'mixtral':
    case 'qwen2_moe':
    case 'qwen3_moe':
      if (common.rotaryDim) c.fail('partial_rotary_factor is not read for mixtures of experts');
      return { ...common, ...expertsOf(c, type) };
    case 'llama':
      return common;
  }
}

function rotaryCommon(c: PublishedConfig, type: ModelType): Settings {
  if (type.startsWith('gemma')) c.choice('hidden_activation', { gelu_pytorch_tanh: true, gelu_new: true }, 'gelu_pytorch_tanh');
  else c.choice('hidden_act', { silu: true, swish: true }, 'silu');
  if (c.flag('attention_bias', false) || c.flag('mlp_bias', false))
    c.fail('attention_bias or mlp_bias is true; not part of this model');
  const [dModel, nHead] = [c.whole('hidden_size'), c.whole('num_attention_heads')];
  const headDim = c.has('head_dim') ? c.whole('head_dim') : dModel / nHead;
  if (!Number.isInteger(headDim)) c.fail(`num_attention_heads ${nHead} does not divide hidden_size ${dModel}`);
  const contextLength = c.whole('max_position_embeddings');
  const rotaryDim = turning(c, headDim, 'partial_rotary_factor', 1);
  return {
    model: classes[type][0],
    vocabSize: c.whole('vocab_size'),
    contextLength,
    nLayer: c.whole('num_hidden_layers'),
    nHead,
    nKvHead: c.whole('num_key_value_heads', nHead),
    dModel,
    dFF: c.whole('intermediate_size'),
    ropeBase: c.number('rope_theta', 10_000),
    ...ropeScalingOf(c, contextLength),
    normEps: c.number('rms_norm_eps', 1e-6),
    tied: c.flag('tie_word_embeddings', false),
    qkNorm: false,
    dropout: 0,
    ...(headDim === dModel / nHead ? {} : { headDim }),
    ...(rotaryDim === headDim ? {} : { rotaryDim }),
  };
}

/** Channels of a head that turn: pairs of them. */
function turning(c: PublishedConfig, headDim: number, key: string, fallback: number): number {
  const n = Math.floor(headDim * c.number(key, fallback));
  if (n < 2 || n % 2 === 1 || n > headDim)
    c.fail(`heads of ${headDim} channels with ${key} ${c.number(key, fallback)}: ${n} of them would turn, in pairs`);
  return n;
}

/** layer_types, a word for each layer: does it see all tokens? Undefined when config.json leaves it to the class. */
function fullLayers(c: PublishedConfig, nLayer: number): boolean[] | undefined {
  if (!c.has('layer_types')) return undefined;
  const words = c.values['layer_types'];
  const known = (word: unknown) => word === 'full_attention' || word === 'sliding_attention';
  if (!Array.isArray(words) || words.length !== nLayer || !words.every(known))
    c.fail(`layer_types is not full_attention or sliding_attention for each of the ${nLayer} layers`);
  return (words as string[]).map((word) => word === 'full_attention');
}

/** Qwen and SmolLM 3: windows are off, or no layer has one. */
function noWindows(c: PublishedConfig, nLayer: number, fullByDefault: (layer: number) => boolean): void {
  if (!c.flag('use_sliding_window', false) || c.values['sliding_window'] === null) return;
  const full = fullLayers(c, nLayer) ?? Array.from({ length: nLayer }, (_, i) => fullByDefault(i));
  if (full.includes(false)) c.fail('use_sliding_window is true; windows in some of the layers only are not read');
}

/** SmolLM 3 says 0 for each layer without positions; in our models it is every n-th. */
function layersWithoutPositions(c: PublishedConfig, nLayer: number): { noRopeEvery?: number } {
  const words = c.values['no_rope_layers'];
  if (words === undefined || words === null) return { noRopeEvery: c.whole('no_rope_layer_interval', 4) };
  const list = Array.isArray(words) ? words : [];
  const first = list.indexOf(0) + 1;
  if (list.length !== nLayer || list.some((turns, i) => turns !== (first > 0 && (i + 1) % first === 0 ? 0 : 1)))
    c.fail(`no_rope_layers ${JSON.stringify(words)} is not 0 for every n-th of ${nLayer} layers and 1 for the others`);
  return first > 0 ? { noRopeEvery: first } : {};
}

function gemma(c: PublishedConfig, type: 'gemma2' | 'gemma3_text', nLayer: number) {
  const pattern = () => c.whole('sliding_window_pattern', c.whole('_sliding_window_pattern', 6));
  const full = fullLayers(c, nLayer);
  const every = !full ? (type === 'gemma2' ? 2 : pattern()) : full.includes(true) ? full.indexOf(true) + 1 : nLayer + 1;
  if (full?.some((sees, i) => sees !== ((i + 1) % every === 0)))
    c.fail(`layer_types is not one full_attention in every ${every} layers`);
  if (!c.flag('tie_word_embeddings', true)) c.fail('tie_word_embeddings is false; Gemma shares its matrix');
  return {
    window: c.whole('sliding_window', 4096) - 1, // theirs counts the token itself
    globalEvery: every,
    queryScale: c.number('query_pre_attn_scalar', 256),
  };
}

function neox(c: PublishedConfig): Settings {
  c.choice('hidden_act', { gelu: true }, 'gelu');
  const [dModel, nHead] = [c.whole('hidden_size'), c.whole('num_attention_heads')];
  if (dModel % nHead !== 0) c.fail(`num_attention_heads ${nHead} does not divide hidden_size ${dModel}`);
  if (c.has('rope_scaling')) c.fail('rope_scaling is not read for gpt_neox');
  if (!c.flag('attention_bias', true)) c.fail('attention_bias is false; not part of this model');
  return {
    model: 'neox',
    vocabSize: c.whole('vocab_size'),
    contextLength: c.whole('max_position_embeddings', 2048),
    nLayer: c.whole('num_hidden_layers'),
    nHead,
    nKvHead: nHead,
    dModel,
    dFF: c.whole('intermediate_size'),
    ropeBase: c.number('rotary_emb_base', 10_000),
    rotaryDim: turning(c, dModel / nHead, 'rotary_pct', 0.25),
    parallel: c.flag('use_parallel_residual', true),
    normEps: c.number('layer_norm_eps', 1e-5),
    tied: c.flag('tie_word_embeddings', false),
    qkNorm: false,
    dropout: 0,
  };
}
