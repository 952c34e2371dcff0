// Published names and layouts ↔ ours. Foreign names live here and nowhere else.

import type { Tensor } from '../tensor/index.ts';
import { CheckpointError } from './checkpoint-error.ts';

/** How one of our tensors is stored in a Hugging Face file. */
export interface Stored {
  name: string;
  /** GPT-2's Conv1D keeps (dIn, dOut) where a Linear has (dOut, dIn). */
  transposed?: boolean;
  /** The file keeps it as these rows of a larger tensor (Phi-3's fused projections). */
  rows?: { from: number; of: number };
  /** Other names under which a tied tensor may have been saved. */
  aliases?: readonly string[];
}

const gpt2Names: [ours: RegExp, theirs: string, transposed?: boolean][] = [
  [/^tokenEmbedding\.weight$/, 'transformer.wte.weight'],
  [/^positionEmbedding\.weight$/, 'transformer.wpe.weight'],
  [/^blocks\.(\d+)\.attnNorm\.(weight|bias)$/, 'transformer.h.$1.ln_1.$2'],
  [/^blocks\.(\d+)\.attn\.qkvProj\.weight$/, 'transformer.h.$1.attn.c_attn.weight', true],
  [/^blocks\.(\d+)\.attn\.qkvProj\.bias$/, 'transformer.h.$1.attn.c_attn.bias'],
  [/^blocks\.(\d+)\.attn\.outProj\.weight$/, 'transformer.h.$1.attn.c_proj.weight', true],
  [/^blocks\.(\d+)\.attn\.outProj\.bias$/, 'transformer.h.$1.attn.c_proj.bias'],
  [/^blocks\.(\d+)\.mlpNorm\.(weight|bias)$/, 'transformer.h.$1.ln_2.$2'],
  [/^blocks\.(\d+)\.mlp\.upProj\.weight$/, 'transformer.h.$1.mlp.c_fc.weight', true],
  [/^blocks\.(\d+)\.mlp\.upProj\.bias$/, 'transformer.h.$1.mlp.c_fc.bias'],
  [/^blocks\.(\d+)\.mlp\.downProj\.weight$/, 'transformer.h.$1.mlp.c_proj.weight', true],
  [/^blocks\.(\d+)\.mlp\.downProj\.bias$/, 'transformer.h.$1.mlp.c_proj.bias'],
  [/^norm\.(weight|bias)$/, 'transformer.ln_f.$1'],
];
const llamaNames: [ours: RegExp, theirs: string, transposed?: boolean][] = [
  [/^tokenEmbedding\.weight$/, 'model.embed_tokens.weight'],
  [/^blocks\.(\d+)\.attnNorm\.weight$/, 'model.layers.$1.input_layernorm.weight'],
  [/^blocks\.(\d+)\.attn\.([qkv])Proj\.(weight|bias)$/, 'model.layers.$1.self_attn.$2_proj.$3'],
  [/^blocks\.(\d+)\.attn\.outProj\.weight$/, 'model.layers.$1.self_attn.o_proj.weight'],
  [/^blocks\.(\d+)\.attn\.([qk])Norm\.weight$/, 'model.layers.$1.self_attn.$2_norm.weight'],
  [/^blocks\.(\d+)\.mlpNorm\.weight$/, 'model.layers.$1.post_attention_layernorm.weight'],
  [/^blocks\.(\d+)\.mlp\.(gate|up|down)Proj\.weight$/, 'model.layers.$1.mlp.$2_proj.weight'],
  [/^norm\.weight$/, 'model.norm.weight'],
  [/^lmHead\.weight$/, 'lm_head.weight'],
];
const names = { gpt2: gpt2Names, llama: llamaNames };
export type Family = keyof typeof names;

/** The published name and layout of our tensor `ours`. */
export function storedAs(family: Family, ours: string): Stored {
  for (const [pattern, theirs, transposed] of names[family]) {
    if (pattern.test(ours)) return { name: ours.replace(pattern, theirs), transposed };
  }
  throw new Error(`${family}: the tensor ${ours} has no published name; add it to io/hugging-face.ts`);
}

/** The numbers of `t` as the file holds them, little-endian f32. Waits for the backend. */
export function storedBytes(t: Tensor, transposed = false): Uint8Array {
  if (!transposed) return bytesOf(t.readSync() as Float32Array);
  const turned = t.detach();
  const view = turned.T;
  const bytes = bytesOf(view.readSync() as Float32Array);
  view.free();
  turned.free();
  return bytes;
}
const bytesOf = (x: Float32Array): Uint8Array => new Uint8Array(x.buffer, x.byteOffset, x.byteLength);

/** What the settings of a decoder are called in config.json. */
export interface PublishedShape {
  vocabSize: number;
  contextLength: number;
  nLayer: number;
  nHead: number;
  nKvHead: number;
  dModel: number;
  dFF: number;
  ropeBase: number;
  normEps: number;
  tied: boolean;
  qkNorm: boolean;
  dropout: number;
}

/** config.json as `from_pretrained` reads it. Llama with QK-norm is published as Qwen3. */
export function publishedConfig(family: Family, c: PublishedShape, endOfText?: number): Record<string, unknown> {
  const common = {
    vocab_size: c.vocabSize,
    torch_dtype: 'float32',
    bos_token_id: endOfText ?? null,
    eos_token_id: endOfText ?? null,
    tie_word_embeddings: c.tied,
  };
  if (family === 'gpt2') {
    return {
      architectures: ['GPT2LMHeadModel'],
      model_type: 'gpt2',
      ...common,
      n_positions: c.contextLength,
      n_ctx: c.contextLength,
      n_embd: c.dModel,
      n_layer: c.nLayer,
      n_head: c.nHead,
      n_inner: c.dFF,
      activation_function: 'gelu_new',
      layer_norm_epsilon: 1e-5,
      embd_pdrop: c.dropout,
      attn_pdrop: c.dropout,
      resid_pdrop: c.dropout,
    };
  }
  return {
    architectures: [c.qkNorm ? 'Qwen3ForCausalLM' : 'LlamaForCausalLM'],
    model_type: c.qkNorm ? 'qwen3' : 'llama',
    ...common,
    max_position_embeddings: c.contextLength,
    hidden_size: c.dModel,
    intermediate_size: c.dFF,
    num_hidden_layers: c.nLayer,
    num_attention_heads: c.nHead,
    num_key_value_heads: c.nKvHead,
    head_dim: c.dModel / c.nHead,
    hidden_act: 'silu',
    rms_norm_eps: c.normEps,
    rope_theta: c.ropeBase,
    attention_bias: false,
    mlp_bias: false,
    attention_dropout: c.dropout,
  };
}

/** A published config.json as our settings. @throws CheckpointError CONFIG with what this reader does not know */
export function settingsOfPublished(config: Record<string, unknown>, file: string): PublishedShape & { model: Family } {
  const fail = (detail: string): never => {
    throw new CheckpointError('CONFIG', file, detail, 'Only gpt2, llama and qwen3 decoders are read');
  };
  const whole = (...keys: string[]): number => {
    const key = keys.find((k) => config[k] !== undefined && config[k] !== null);
    const value = key && config[key];
    if (!(typeof value === 'number' && Number.isSafeInteger(value) && value > 0 && value < 1e9))
      fail(`${keys[0]} is ${JSON.stringify(value)}; expected a whole number above 0`);
    return value as number;
  };
  const number = (key: string, fallback: number): number =>
    typeof config[key] === 'number' && Number.isFinite(config[key]) ? (config[key] as number) : fallback;
  const type = config['model_type'];
  if (type === 'gpt2') {
    if (config['activation_function'] !== undefined && config['activation_function'] !== 'gelu_new')
      fail(`activation_function ${JSON.stringify(config['activation_function'])} is not gelu_new`);
    const [dModel, nHead] = [whole('n_embd'), whole('n_head')];
    const dFF = config['n_inner'] == null ? 4 * dModel : whole('n_inner');
    if (dFF !== 4 * dModel) fail(`n_inner ${dFF} is not 4·n_embd`);
    if (dModel % nHead !== 0) fail(`n_head ${nHead} does not divide n_embd ${dModel}`);
    return {
      model: 'gpt2',
      vocabSize: whole('vocab_size'),
      contextLength: whole('n_positions', 'n_ctx'),
      nLayer: whole('n_layer'),
      nHead,
      nKvHead: nHead,
      dModel,
      dFF,
      ropeBase: 10_000,
      normEps: number('layer_norm_epsilon', 1e-5),
      tied: true,
      qkNorm: false,
      dropout: 0,
    };
  }
  if (type === 'llama' || type === 'qwen3') {
    if (config['rope_scaling'] != null) fail('rope_scaling is not read yet');
    if (config['attention_bias'] === true || config['mlp_bias'] === true) fail('biases are not part of this model');
    const [dModel, nHead] = [whole('hidden_size'), whole('num_attention_heads')];
    const headDim = config['head_dim'] == null ? dModel / nHead : whole('head_dim');
    if (headDim !== dModel / nHead) fail(`head_dim ${headDim} is not hidden_size / num_attention_heads = ${dModel / nHead}`);
    const theta = (config['rope_parameters'] as { rope_theta?: number } | undefined)?.rope_theta;
    return {
      model: 'llama',
      vocabSize: whole('vocab_size'),
      contextLength: whole('max_position_embeddings'),
      nLayer: whole('num_hidden_layers'),
      nHead,
      nKvHead: config['num_key_value_heads'] == null ? nHead : whole('num_key_value_heads'),
      dModel,
      dFF: whole('intermediate_size'),
      ropeBase: theta ?? number('rope_theta', 10_000),
      normEps: number('rms_norm_eps', 1e-6),
      tied: config['tie_word_embeddings'] === true,
      qkNorm: type === 'qwen3',
      dropout: 0,
    };
  }
  return fail(`model_type ${JSON.stringify(type)}`);
}
