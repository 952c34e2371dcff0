// Published names and layouts ↔ ours. Foreign names live here and nowhere else.

import type { DecoderSwitches } from '../models/index.ts';
import type { Tensor } from '../tensor/index.ts';
import { switchesOf } from './hugging-face-decoders.ts';
import { phi3StoredAs, publishedSwitches, turnsSome } from './hugging-face-decoders-write.ts';
import { expertsStoredAs, expertsTypeOf } from './hugging-face-experts.ts';
import { PublishedConfig } from './published-config.ts';

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
const neoxNames: [ours: RegExp, theirs: string, transposed?: boolean][] = [
  [/^tokenEmbedding\.weight$/, 'gpt_neox.embed_in.weight'],
  [/^blocks\.(\d+)\.attnNorm\.(\w+)$/, 'gpt_neox.layers.$1.input_layernorm.$2'],
  [/^blocks\.(\d+)\.attn\.qkvProj\.(\w+)$/, 'gpt_neox.layers.$1.attention.query_key_value.$2'],
  [/^blocks\.(\d+)\.attn\.outProj\.(\w+)$/, 'gpt_neox.layers.$1.attention.dense.$2'],
  [/^blocks\.(\d+)\.mlpNorm\.(\w+)$/, 'gpt_neox.layers.$1.post_attention_layernorm.$2'],
  [/^blocks\.(\d+)\.mlp\.upProj\.(\w+)$/, 'gpt_neox.layers.$1.mlp.dense_h_to_4h.$2'],
  [/^blocks\.(\d+)\.mlp\.downProj\.(\w+)$/, 'gpt_neox.layers.$1.mlp.dense_4h_to_h.$2'],
  [/^norm\.(\w+)$/, 'gpt_neox.final_layer_norm.$1'],
  [/^lmHead\.weight$/, 'embed_out.weight'],
];
/** As Llama's, but for the norms: Gemma has four a block, and gives Llama's name to another one. */
const gemmaNames: [ours: RegExp, theirs: string, transposed?: boolean][] = [
  [/^blocks\.(\d+)\.attnOutNorm\.weight$/, 'model.layers.$1.post_attention_layernorm.weight'],
  [/^blocks\.(\d+)\.mlpNorm\.weight$/, 'model.layers.$1.pre_feedforward_layernorm.weight'],
  [/^blocks\.(\d+)\.mlpOutNorm\.weight$/, 'model.layers.$1.post_feedforward_layernorm.weight'],
  ...llamaNames,
];
/** As Llama's, but its two norms a block stand behind the branches. */
const olmo2Names: [ours: RegExp, theirs: string, transposed?: boolean][] = [
  [/^blocks\.(\d+)\.attnOutNorm\.weight$/, 'model.layers.$1.post_attention_layernorm.weight'],
  [/^blocks\.(\d+)\.mlpOutNorm\.weight$/, 'model.layers.$1.post_feedforward_layernorm.weight'],
  ...llamaNames,
];
const names = {
  gpt2: gpt2Names,
  llama: llamaNames,
  neox: neoxNames,
  gemma: gemmaNames,
  olmo2: olmo2Names,
  mixtral: llamaNames, // but for the experts: hugging-face-experts.ts
};
export type Family = keyof typeof names;

/** The published name and layout of our tensor `ours`. Mixtures of experts have several layouts, Phi-3 another than Llama: `shape` says which; Mixtral's and Llama's when left out. */
export function storedAs(family: Family, ours: string, shape?: PublishedShape): Stored {
  if (family === 'llama' && shape && turnsSome(shape)) return phi3StoredAs(shape, ours, (name) => storedAs(family, name));
  const experts = family === 'mixtral' && expertsStoredAs(shape ? expertsTypeOf(shape) : 'mixtral', ours);
  if (experts) return experts;
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
/** The tensors that a published file has for ours, read one at a time when they are written; rows of one are put together. */
export function storedEntries(tensors: Iterable<readonly [ours: string, t: Tensor]>, stored: (ours: string) => Stored) {
  const entries = new Map<string, { name: string; dtype: 'F32'; shape: number[]; bytes: () => Uint8Array }>();
  const fused = new Map<string, { from: number; t: Tensor }[]>();
  for (const [ours, t] of tensors) {
    const { name, transposed, rows } = stored(ours);
    const shape = transposed ? [t.shape[1], t.shape[0]] : [...t.shape];
    const parts = fused.get(name);
    if (rows && parts) parts.push({ from: rows.from, t });
    else if (rows) {
      const all = [{ from: rows.from, t }];
      fused.set(name, all);
      const bytes = () => Buffer.concat(all.sort((a, b) => a.from - b.from).map((part) => storedBytes(part.t)));
      entries.set(name, { name, dtype: 'F32', shape: [rows.of, ...shape.slice(1)], bytes });
    } else entries.set(name, { name, dtype: 'F32', shape, bytes: () => storedBytes(t, transposed) });
  }
  return [...entries.values()];
}
const bytesOf = (x: Float32Array): Uint8Array => new Uint8Array(x.buffer, x.byteOffset, x.byteLength);

/** What the settings of a decoder are called in config.json. */
export interface PublishedShape extends DecoderSwitches {
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
      layer_norm_epsilon: c.normEps,
      embd_pdrop: c.dropout,
      attn_pdrop: c.dropout,
      resid_pdrop: c.dropout,
    };
  }
  return { ...common, ...publishedSwitches(family, c) };
}

/** A published config.json as our settings. @throws CheckpointError CONFIG with what this reader does not know */
export function settingsOfPublished(config: Record<string, unknown>, file: string): PublishedShape & { model: Family } {
  const c = new PublishedConfig(config, file);
  return c.modelType === 'gpt2' ? gpt2Settings(c) : switchesOf(c);
}

function gpt2Settings(c: PublishedConfig): PublishedShape & { model: Family } {
  c.choice('activation_function', { gelu_new: true, gelu_pytorch_tanh: true }, 'gelu_new');
  if (!c.flag('scale_attn_weights', true) || c.flag('scale_attn_by_inverse_layer_idx', false))
    c.fail(
      'scale_attn_weights or scale_attn_by_inverse_layer_idx divide the scores by something else than √D; not part of this model',
    );
  if (!c.flag('tie_word_embeddings', true)) c.fail('tie_word_embeddings is false; GPT-2 shares its matrix');
  const [dModel, nHead] = [c.whole('n_embd'), c.whole('n_head')];
  const dFF = c.whole('n_inner', 4 * dModel);
  if (dFF !== 4 * dModel) c.fail(`n_inner ${dFF} is not 4·n_embd`);
  if (dModel % nHead !== 0) c.fail(`n_head ${nHead} does not divide n_embd ${dModel}`);
  return {
    model: 'gpt2',
    vocabSize: c.whole('vocab_size'),
    contextLength: c.whole(c.has('n_positions') ? 'n_positions' : 'n_ctx'),
    nLayer: c.whole('n_layer'),
    nHead,
    nKvHead: nHead,
    dModel,
    dFF,
    ropeBase: 10_000,
    normEps: c.number('layer_norm_epsilon', 1e-5),
    tied: true,
    qkNorm: false,
    dropout: 0,
  };
}
