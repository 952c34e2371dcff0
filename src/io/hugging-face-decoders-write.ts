// Our settings → config.json of the decoders with rotary positions, as `from_pretrained` reads it.

import { CheckpointError } from './checkpoint-error.ts';
import { classes, type ModelType } from './hugging-face-decoders.ts';
import { expertsTypeOf, publishedExperts } from './hugging-face-experts.ts';
import type { Family, PublishedShape, Stored } from './hugging-face.ts';
import { publishedScaling } from './hugging-face-rope.ts';

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
