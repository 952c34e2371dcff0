// Published names and layouts ↔ ours. Foreign names live here and nowhere else.

import type { Tensor } from '../tensor/index.ts';

/** How one of our tensors is stored in a Hugging Face file. */
interface Stored {
  name: string;
  /** GPT-2's Conv1D keeps (dIn, dOut) where a Linear has (dOut, dIn). */
  transposed?: boolean;
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

/** Numbers of a file (f32, in `t`'s published layout) into `t`. */
export function restore(t: Tensor, values: Float32Array, transposed = false): void {
  if (!transposed) {
    t.write(values);
    return;
  }
  const [rows, columns] = t.shape;
  const turned = new Float32Array(values.length);
  for (let i = 0; i < columns; i++) for (let j = 0; j < rows; j++) turned[j * columns + i] = values[i * rows + j];
  t.write(turned);
}

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
