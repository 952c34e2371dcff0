// An encoder of the BERT family as a GGUF file: llama.cpp gives the mean of its hidden states, a vector for a text.

import type { Bert, BertVariant } from '../models/index.ts';
import { stateDict } from '../nn/index.ts';
import { CheckpointError } from './checkpoint-error.ts';
import type { GgufValue } from './gguf-head.ts';
import type { GgufPart } from './gguf-layout.ts';
import type { WritableType } from './gguf-quant.ts';
import { generalKeys, noTokenizer, packed } from './gguf-save.ts';
import { ggufTokenizer, tokenTypes } from './gguf-tokenizer.ts';
import { writeGguf } from './gguf-write.ts';

const names: [ours: RegExp, theirs: string][] = [
  [/^tokenEmbedding\.weight$/, 'token_embd.weight'],
  [/^positionEmbedding\.weight$/, 'position_embd.weight'],
  [/^segmentEmbedding\.weight$/, 'token_types.weight'],
  [/^embeddingNorm\.(\w+)$/, 'token_embd_norm.$1'],
  [/^blocks\.(\d+)\.attn\.([qkv])Proj\.(\w+)$/, 'blk.$1.attn_$2.$3'],
  [/^blocks\.(\d+)\.attn\.outProj\.(\w+)$/, 'blk.$1.attn_output.$2'],
  [/^blocks\.(\d+)\.attnNorm\.(\w+)$/, 'blk.$1.attn_output_norm.$2'],
  [/^blocks\.(\d+)\.mlp\.upProj\.(\w+)$/, 'blk.$1.ffn_up.$2'],
  [/^blocks\.(\d+)\.mlp\.downProj\.(\w+)$/, 'blk.$1.ffn_down.$2'],
  [/^blocks\.(\d+)\.mlpNorm\.(\w+)$/, 'blk.$1.layer_output_norm.$2'],
];

/** llama.cpp's name of a tensor of ours; undefined for those it has no place for: pooler and heads. */
export function bertGgufName(ours: string): string | undefined {
  const found = names.find(([pattern]) => pattern.test(ours));
  return found && ours.replace(...found);
}

export interface BertGgufToSave {
  /** The encoder without its head. */
  bert: Bert;
  variant: BertVariant;
  /** The type of the matrices; vectors and positions stay F32. */
  type: WritableType;
  tokenizerJson?: string;
  name?: string;
}

/**
 * Writes the encoder at `path` for llama.cpp's `bert`, which pools by the mean and has no heads.
 * @throws CheckpointError CONFIG for an encoder that llama.cpp does not compute, TOKENIZER
 */
export function saveBertGguf(path: string, { bert, variant, type, tokenizerJson, name }: BertGgufToSave) {
  const { config: c } = bert;
  const refuse = (detail: string): never => {
    throw new CheckpointError('CONFIG', 'GGUF', detail, 'Such an encoder can be written as hf or onnx', 1);
  };
  if (c.embeddingSize !== c.dModel)
    refuse(`llama.cpp's bert has embeddings as wide as its layers (${c.dModel}); these have ${c.embeddingSize}`);
  if (c.activation !== 'gelu' && c.activation !== 'geluTanh')
    refuse(`llama.cpp's bert has the activation gelu, this one ${c.activation}`);
  const notes = ['llama.cpp gives the mean of the hidden states; heads and the pooler are left out'];
  const parts: GgufPart[] = [];
  for (const [ours, t] of stateDict(bert)) {
    const name = bertGgufName(ours);
    if (name === undefined) continue; // the pooler
    const skipped = ours === 'positionEmbedding.weight' ? c.firstPosition : 0; // rows that no token uses
    const values = () => (t.readSync() as Float32Array).subarray((skipped * t.size) / t.shape[0]);
    parts.push({ name, shape: [t.shape[0] - skipped, ...t.shape.slice(1)], values });
  }
  if (c.nSegment === 0)
    parts.push({ name: 'token_types.weight', shape: [1, c.dModel], values: () => new Float32Array(c.dModel) });
  const tensors = packed(parts, type, 'token_embd.weight', notes);
  const number = (key: string, value: number, as: 'u32' | 'f32' = 'u32'): [string, GgufValue] => [
    `bert.${key}`,
    { type: as, value },
  ];
  const keys: [string, GgufValue][] = [
    ...generalKeys('bert', name, type),
    number('vocab_size', c.vocabSize),
    number('context_length', c.contextLength),
    number('embedding_length', c.dModel),
    number('block_count', c.nLayer),
    number('feed_forward_length', c.dFF),
    number('attention.head_count', c.nHead),
    number('attention.layer_norm_epsilon', c.normEps, 'f32'),
    ['bert.attention.causal', { type: 'bool', value: false }],
    number('pooling_type', 1),
    ['tokenizer.ggml.token_type_count', { type: 'u32', value: Math.max(1, c.nSegment) }],
    ...(tokenizerJson === undefined ? noTokenizer(c.vocabSize) : vocabulary(tokenizerJson, c.vocabSize, notes)),
  ];
  writeGguf(path, keys, tensors);
  return { architecture: variant === 'bert' ? 'bert' : `bert (${variant})`, notes };
}

/** The keys of a WordPiece vocabulary: what begins a word has ▁ before it, what goes on has no ##. Others as the decoders'. */
function vocabulary(json: string, vocabSize: number, notes: string[]): [string, GgufValue][] {
  const {
    model,
    normalizer,
    added_tokens: added = [],
  } = JSON.parse(json) as {
    model: { type?: string; vocab: Record<string, number>; unk_token?: string };
    normalizer?: { type?: string; lowercase?: boolean } | null;
    added_tokens?: { id: number; content: string }[];
  };
  if (model.type !== 'WordPiece') return ggufTokenizer(json, vocabSize, {}, notes);
  if (normalizer?.lowercase !== true)
    notes.push(
      'llama.cpp makes every text lower case before it cuts it; this tokenizer does not: texts with capitals get other ids',
    );
  const tokens: string[] = Array.from({ length: vocabSize }, (_, id) => `[unused${id}]`);
  const types: number[] = tokens.map(() => tokenTypes.unused);
  for (const [token, id] of Object.entries(model.vocab)) {
    tokens[id] = token.startsWith('##') ? token.slice(2) : /^\[.+\]$/.test(token) ? token : `▁${token}`;
    types[id] = tokenTypes.normal;
  }
  for (const { id, content } of added) {
    tokens[id] = content;
    types[id] = tokenTypes.control;
  }
  if (tokens.length > vocabSize)
    throw new CheckpointError('TOKENIZER', 'tokenizer.json', `it has ${tokens.length} entries, the model ${vocabSize}`, '', 1);
  const special = {
    bos: '[CLS]',
    cls: '[CLS]',
    eos: '[SEP]',
    seperator: '[SEP]',
    unknown: '[UNK]',
    padding: '[PAD]',
    mask: '[MASK]',
  };
  const ids = Object.entries(special).filter(([, token]) => tokens.includes(token));
  return [
    ['tokenizer.ggml.model', { type: 'string', value: 'bert' }],
    ['tokenizer.ggml.pre', { type: 'string', value: 'default' }],
    ['tokenizer.ggml.tokens', { type: 'array', of: 'string', value: tokens }],
    ['tokenizer.ggml.token_type', { type: 'array', of: 'i32', value: types }],
    ...ids.map(([key, token]): [string, GgufValue] => [
      `tokenizer.ggml.${key}_token_id`,
      { type: 'u32', value: tokens.indexOf(token) },
    ]),
  ];
}
