// T5, Flan-T5 and mT5: their published names and settings ↔ ours.

import { T5, type T5Config } from '../models/index.ts';
import { dispose, stateDict } from '../nn/index.ts';
import { Rng } from '../tensor/index.ts';
import type { Stored } from './hugging-face.ts';
import { fillPublished } from './model-weights.ts';
import { configOf, type PublishedSource } from './published.ts';
import { PublishedConfig } from './published-config.ts';

/** Every place under which the one embedding of a tied model has been saved: writers that drop duplicates keep any of them. */
const embeddings = ['shared.weight', 'encoder.embed_tokens.weight', 'decoder.embed_tokens.weight'];
const gates: Record<string, string> = { gateProj: 'wi_0', upProj: 'wi_1', downProj: 'wo' };
const plain: Record<string, string> = { upProj: 'wi', downProj: 'wo' };

/** The published name of our tensor `ours`. Each branch of a block is a numbered `layer` with its norm. */
export function t5StoredAs({ gated, tied }: { gated: boolean; tied: boolean }, ours: string): Stored {
  if (ours === 'tokenEmbedding.weight')
    return { name: embeddings[0], aliases: [...embeddings.slice(1), ...(tied ? ['lm_head.weight'] : [])] };
  if (ours === 'lmHead.weight') return { name: 'lm_head.weight', aliases: embeddings };
  const [stack, ...rest] = ours.split('.');
  const path = rest.join('.');
  if (path === 'relativeBias.weight') return { name: `${stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight` };
  if (path === 'norm.weight') return { name: `${stack}.final_layer_norm.weight` };
  const [, i, part] = /^blocks\.(\d+)\.(.+)\.weight$/.exec(path) ?? [];
  const last = stack === 'encoder' ? 1 : 2;
  const norms: Record<string, number> = { attnNorm: 0, crossNorm: 1, mlpNorm: last };
  if (part in norms) return { name: `${stack}.block.${i}.layer.${norms[part]}.layer_norm.weight` };
  const [branch, proj] = part.split('.');
  const letter = proj === 'outProj' ? 'o' : proj[0];
  if (branch === 'attn') return { name: `${stack}.block.${i}.layer.0.SelfAttention.${letter}.weight` };
  if (branch === 'cross') return { name: `${stack}.block.${i}.layer.1.EncDecAttention.${letter}.weight` };
  return { name: `${stack}.block.${i}.layer.${last}.DenseReluDense.${(gated ? gates : plain)[proj]}.weight` };
}

export interface PublishedT5 {
  settings: T5Config & { gated: boolean; tied: boolean };
  /** The id that every target begins with, and the one that ends a text. */
  startId: number;
  endId: number;
}

export function t5SettingsOf(config: Record<string, unknown>, file: string): PublishedT5 {
  const c = new PublishedConfig(config, file);
  const nEncoderLayer = c.whole('num_layers');
  const mt5 = c.modelType === 'mt5';
  const gated = c.choice('feed_forward_proj', { relu: false, 'gated-gelu': true }, mt5 ? 'gated-gelu' : 'relu');
  c.choice('dense_act_fn', gated ? { gelu_new: true, gelu_pytorch_tanh: true } : { relu: true }, gated ? 'gelu_new' : 'relu');
  return {
    settings: {
      vocabSize: c.whole('vocab_size'),
      contextLength: c.whole('n_positions', 512),
      nLayer: c.whole('num_decoder_layers', nEncoderLayer),
      nEncoderLayer,
      nHead: c.whole('num_heads'),
      headDim: c.whole('d_kv'),
      dModel: c.whole('d_model'),
      dFF: c.whole('d_ff'),
      gated,
      tied: scaled(c),
      nBuckets: c.whole('relative_attention_num_buckets', 32),
      maxDistance: c.whole('relative_attention_max_distance', 128),
      normEps: c.number('layer_norm_epsilon', 1e-6),
    },
    startId: c.number('decoder_start_token_id', 0),
    endId: c.number('eos_token_id', 1),
  };
}

/**
 * Are the last hidden states scaled by 1/√C, as those of a tied model are? Transformers 4 says so by tie_word_embeddings; version 5 always ties, has
 * a key of its own for T5, and never scales mT5. A head without its own matrix and without the scale is loaded as one that begins as the embedding.
 */
function scaled(c: PublishedConfig): boolean {
  const mt5 = c.modelType === 'mt5';
  if (c.has('scale_decoder_outputs')) return c.flag('scale_decoder_outputs', true);
  if (mt5 && Number.parseInt(String(c.values['transformers_version']), 10) >= 5) return false;
  return c.flag('tie_word_embeddings', !mt5);
}

/** config.json of a T5 as `from_pretrained` reads it. */
export function publishedT5Config(c: T5['config'], { startId = 0, endId = 1 } = {}): Record<string, unknown> {
  return {
    architectures: ['T5ForConditionalGeneration'],
    model_type: 't5',
    torch_dtype: 'float32',
    is_encoder_decoder: true,
    vocab_size: c.vocabSize,
    n_positions: c.contextLength,
    d_model: c.dModel,
    d_kv: c.headDim,
    d_ff: c.dFF,
    num_layers: c.nEncoderLayer,
    num_decoder_layers: c.nLayer,
    num_heads: c.nHead,
    relative_attention_num_buckets: c.nBuckets,
    relative_attention_max_distance: c.maxDistance,
    feed_forward_proj: c.gated ? 'gated-gelu' : 'relu',
    tie_word_embeddings: c.tied,
    layer_norm_epsilon: c.normEps,
    dropout_rate: c.dropout,
    decoder_start_token_id: startId,
    eos_token_id: endId,
    pad_token_id: 0,
  };
}

/**
 * An encoder-decoder of the T5 family from a folder as `save_pretrained` writes it.
 * @throws CheckpointError CONFIG, MODEL_MISMATCH and those of the reader
 */
export function loadEncoderDecoder(
  source: PublishedSource,
  { dropout = 0 }: { dropout?: number } = {},
): { model: T5 } & PublishedT5 {
  const { file, config } = configOf(source);
  const c = new PublishedConfig(config, file);
  c.choice('model_type', { t5: true, mt5: true }, '');
  const published = t5SettingsOf(config, file);
  const model = new T5({ ...published.settings, dropout }, new Rng(0));
  try {
    const wanted = [...stateDict(model)].map(([name, t]) => ({ t, ...t5StoredAs(published.settings, name) }));
    fillPublished(source, wanted, '', /^decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.weight$/);
    return { model, ...published };
  } catch (error) {
    dispose(model);
    throw error;
  }
}
