// config.json of the decoders with rotary positions ↔ our settings: Llama and its relatives, Gemma, GPT-NeoX.

import { CheckpointError } from './checkpoint-error.ts';
import { expertsOf, expertsTypeOf, publishedExperts } from './hugging-face-experts.ts';
import type { Family, PublishedShape, Stored } from './hugging-face.ts';
import { publishedScaling, ropeBaseOf, ropeScalingOf } from './hugging-face-rope.ts';
import type { PublishedConfig } from './published-config.ts';

/** How transformers calls its classes, by the model_type of config.json, and the family of ours that computes the same. */
const classes = {
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
type ModelType = keyof typeof classes;

/** save_pretrained leaves tie_word_embeddings out where it is what the class begins with. */
const tiedByDefault = new Set<ModelType>(['gemma2', 'gemma3_text', 'smollm3']);

type Settings = PublishedShape & { model: Family };

/** config.json of a decoder with rotary positions as our settings. @throws CheckpointError CONFIG */
export function switchesOf(c: PublishedConfig): Settings {
  if (!Object.hasOwn(classes, c.modelType))
    c.fail(
      `model_type ${JSON.stringify(c.values['model_type'])}`,
      `Decoders that are read: gpt2, ${Object.keys(classes).join(', ')}`,
    );
  const type = c.modelType as ModelType;
  if (c.has('quantization_config')) c.fail('the weights are quantised', 'Use the folder with bf16 or f16 weights');
  if (type === 'gpt_neox') return neox(c);
  const common = rotaryCommon(c, type);
  switch (type) {
    case 'gemma2':
      return {
        ...common,
        ...gemma(c, type),
        attnSoftcap: c.number('attn_logit_softcapping', 50),
        logitSoftcap: c.number('final_logit_softcapping', 30),
      };
    case 'gemma3_text':
      if (c.has('final_logit_softcapping') || c.has('attn_logit_softcapping')) c.fail('Gemma 3 has no soft caps in this reader');
      return { ...common, ...gemma(c, type), qkNorm: true, localRopeBase: c.number('rope_local_base_freq', 10_000) };
    case 'mistral':
    case 'phi3':
      return c.has('sliding_window') ? { ...common, window: c.whole('sliding_window') - 1 } : common;
    case 'qwen2':
    case 'qwen3':
      if (c.flag('use_sliding_window', false))
        c.fail('use_sliding_window is true; windows in some of the layers only are not read');
      return { ...common, qkNorm: type === 'qwen3', qkvBias: type === 'qwen2' };
    case 'smollm3':
      return { ...common, noRopeEvery: c.whole('no_rope_layer_interval', 4) };
    case 'olmo2':
      if (common.ropeScaling || common.headDim) c.fail('rope_scaling and head_dim are not read for olmo2');
      return { ...common, normEps: c.number('rms_norm_eps', 1e-5) };
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
  c.choice('hidden_act', { silu: true, gelu_pytorch_tanh: true }, type.startsWith('gemma') ? 'gelu_pytorch_tanh' : 'silu');
  if (c.flag('attention_bias', false) || c.flag('mlp_bias', false))
    c.fail('attention_bias or mlp_bias is true; not part of this model');
  const [dModel, nHead] = [c.whole('hidden_size'), c.whole('num_attention_heads')];
  const headDim = c.has('head_dim') ? c.whole('head_dim') : dModel / nHead;
  if (!Number.isInteger(headDim)) c.fail(`num_attention_heads ${nHead} does not divide hidden_size ${dModel}`);
  const contextLength = c.whole('max_position_embeddings');
  const rotaryDim = Math.floor(headDim * c.number('partial_rotary_factor', 1));
  return {
    model: classes[type][0],
    vocabSize: c.whole('vocab_size'),
    contextLength,
    nLayer: c.whole('num_hidden_layers'),
    nHead,
    nKvHead: c.whole('num_key_value_heads', nHead),
    dModel,
    dFF: c.whole('intermediate_size'),
    ropeBase: ropeBaseOf(c),
    ...ropeScalingOf(c, contextLength),
    normEps: c.number('rms_norm_eps', 1e-6),
    tied: c.flag('tie_word_embeddings', tiedByDefault.has(type)),
    qkNorm: false,
    dropout: 0,
    ...(headDim === dModel / nHead ? {} : { headDim }),
    ...(rotaryDim === headDim ? {} : { rotaryDim }),
  };
}

function gemma(c: PublishedConfig, type: 'gemma2' | 'gemma3_text') {
  const every = c.whole('sliding_window_pattern', c.whole('_sliding_window_pattern', type === 'gemma2' ? 2 : 6));
  const kinds = c.values['layer_types'];
  if (Array.isArray(kinds) && kinds.some((kind, i) => (kind === 'full_attention') !== ((i + 1) % every === 0)))
    c.fail(`layer_types is not one full_attention in every ${every} layers`);
  if (!c.flag('tie_word_embeddings', true)) c.fail('tie_word_embeddings is false; Gemma shares its matrix');
  return {
    // Their window counts the token itself. Gemma 3 halves nothing in the text model: the config says what is used.
    window: c.whole('sliding_window', 4096) - 1,
    globalEvery: every,
    queryScale: c.number('query_pre_attn_scalar', 256),
  };
}

function neox(c: PublishedConfig): Settings {
  c.choice('hidden_act', { gelu: true }, 'gelu');
  const [dModel, nHead] = [c.whole('hidden_size'), c.whole('num_attention_heads')];
  if (dModel % nHead !== 0) c.fail(`num_attention_heads ${nHead} does not divide hidden_size ${dModel}`);
  if (c.has('rope_scaling')) c.fail('rope_scaling is not read for gpt_neox');
  return {
    model: 'neox',
    vocabSize: c.whole('vocab_size'),
    contextLength: c.whole('max_position_embeddings', 2048),
    nLayer: c.whole('num_hidden_layers'),
    nHead,
    nKvHead: nHead,
    dModel,
    dFF: c.whole('intermediate_size'),
    ropeBase: c.has('rotary_emb_base') ? c.number('rotary_emb_base', 10_000) : ropeBaseOf(c),
    rotaryDim: Math.floor((dModel / nHead) * c.number('rotary_pct', 0.25)),
    parallel: c.flag('use_parallel_residual', true),
    normEps: c.number('layer_norm_eps', 1e-5),
    tied: c.flag('tie_word_embeddings', false),
    qkNorm: false,
    dropout: 0,
  };
}

/** Only some channels of each head turn with the position: among Llama's relatives, Phi-3's only. */
export const turnsSome = (c: PublishedShape): boolean =>
  c.rotaryDim !== undefined && c.rotaryDim !== (c.headDim ?? c.dModel / c.nHead);

/** The class of transformers that computes what these settings say. */
function modelTypeOf(family: Family, c: PublishedShape): ModelType {
  if (family === 'llama') {
    const switches: string[] = (['qkNorm', 'qkvBias', 'noRopeEvery', 'window'] as const).filter((key) => c[key]);
    const partial = turnsSome(c);
    if (partial) switches.push('rotaryDim', ...(c.ropeScaling ? ['ropeScaling'] : []));
    const phi3 = partial && switches.every((key) => key === 'rotaryDim' || key === 'window');
    if (phi3) return 'phi3';
    if (switches.length > 1)
      throw new CheckpointError(
        'CONFIG',
        'config.json',
        `no published class has ${switches.join(' and ')} together`,
        'Such a model can be kept as a run of qkv, not as a Hugging Face folder',
        1,
      );
  }
  if (family === 'neox') return 'gpt_neox';
  if (family === 'olmo2') return 'olmo2';
  if (family === 'mixtral') return expertsTypeOf(c);
  if (family === 'gemma') return c.qkNorm ? 'gemma3_text' : 'gemma2';
  if (c.qkNorm) return 'qwen3';
  if (c.qkvBias) return 'qwen2';
  if (c.noRopeEvery) return 'smollm3';
  return c.window === undefined ? 'llama' : 'mistral';
}

/** What config.json says of a decoder with rotary positions, beside what all have. */
export function publishedSwitches(family: Family, c: PublishedShape): Record<string, unknown> {
  const type = modelTypeOf(family, c);
  const shape = {
    architectures: [classes[type][1]],
    model_type: type,
    max_position_embeddings: c.contextLength,
    hidden_size: c.dModel,
    intermediate_size: c.dFF,
    num_hidden_layers: c.nLayer,
    num_attention_heads: c.nHead,
    attention_dropout: c.dropout,
  };
  const headDim = c.headDim ?? c.dModel / c.nHead;
  if (type === 'gpt_neox') {
    const rotary_pct = (c.rotaryDim ?? headDim / 4) / headDim;
    const rest = {
      hidden_act: 'gelu',
      layer_norm_eps: c.normEps,
      use_parallel_residual: c.parallel ?? true,
      hidden_dropout: c.dropout,
    };
    return { ...shape, ...rest, rotary_pct, rotary_emb_base: c.ropeBase };
  }
  const rotary = {
    ...shape,
    num_key_value_heads: c.nKvHead,
    head_dim: headDim,
    rms_norm_eps: c.normEps,
    rope_theta: c.ropeBase,
    attention_bias: false,
    ...(c.rotaryDim === undefined ? {} : { partial_rotary_factor: c.rotaryDim / headDim }),
    ...(c.ropeScaling ? { rope_scaling: publishedScaling(c.ropeScaling) } : {}),
  };
  if (family !== 'gemma') {
    const own: Partial<Record<ModelType, object>> = {
      mistral: { sliding_window: (c.window ?? 0) + 1 },
      smollm3: { no_rope_layer_interval: c.noRopeEvery, pad_token_id: null },
      phi3: { sliding_window: c.window === undefined ? null : c.window + 1, pad_token_id: null },
    };
    const experts = family === 'mixtral' ? publishedExperts(expertsTypeOf(c), c) : {};
    return { ...rotary, hidden_act: 'silu', mlp_bias: false, ...own[type], ...experts };
  }
  const every = c.globalEvery ?? 2;
  return {
    ...rotary,
    hidden_activation: 'gelu_pytorch_tanh',
    query_pre_attn_scalar: c.queryScale ?? headDim,
    sliding_window: (c.window ?? c.contextLength) + 1,
    sliding_window_pattern: every,
    layer_types: Array.from({ length: c.nLayer }, (_, i) => ((i + 1) % every === 0 ? 'full_attention' : 'sliding_attention')),
    attn_logit_softcapping: c.attnSoftcap ?? null,
    final_logit_softcapping: c.logitSoftcap ?? null,
    ...(type === 'gemma3_text' ? { rope_local_base_freq: c.localRopeBase ?? c.ropeBase } : {}),
  };
}

/** Phi-3 keeps queries, keys and values in one tensor, and gate and up in another: ours are rows of theirs. */
export function phi3StoredAs(shape: PublishedShape, ours: string, plain: (ours: string) => Stored): Stored {
  const [, i, part] = /^blocks\.(\d+)\.(.+)\.weight$/.exec(ours) ?? [];
  const headDim = shape.headDim ?? shape.dModel / shape.nHead;
  const [q, kv] = [shape.nHead * headDim, shape.nKvHead * headDim];
  const place: Record<string, readonly [name: string, from: number, of: number]> = {
    'attn.qProj': ['self_attn.qkv_proj', 0, q + 2 * kv],
    'attn.kProj': ['self_attn.qkv_proj', q, q + 2 * kv],
    'attn.vProj': ['self_attn.qkv_proj', q + kv, q + 2 * kv],
    'mlp.gateProj': ['mlp.gate_up_proj', 0, 2 * shape.dFF],
    'mlp.upProj': ['mlp.gate_up_proj', shape.dFF, 2 * shape.dFF],
  };
  if (!part || !(part in place)) return plain(ours);
  const [name, from, of] = place[part];
  return { name: `model.layers.${i}.${name}.weight`, rows: { from, of } };
}
