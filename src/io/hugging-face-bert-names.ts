// The published names of the tensors of BERT, RoBERTa, DistilBERT and ELECTRA, and of their heads.

import type { BertVariant } from '../models/index.ts';
import type { EncoderTask } from './hugging-face-bert.ts';
import type { Stored } from './hugging-face.ts';

type Names = [ours: RegExp, theirs: string, ...aliases: string[]][];

/** `prefix` is bert., roberta. or electra.: they share the body. */
const bodyNames = (prefix: string): Names => [
  [/^tokenEmbedding\.weight$/, `${prefix}embeddings.word_embeddings.weight`],
  [/^positionEmbedding\.weight$/, `${prefix}embeddings.position_embeddings.weight`],
  [/^segmentEmbedding\.weight$/, `${prefix}embeddings.token_type_embeddings.weight`],
  [/^embeddingNorm\.(\w+)$/, `${prefix}embeddings.LayerNorm.$1`],
  [/^embeddingProj\.(\w+)$/, `${prefix}embeddings_project.$1`],
  [/^blocks\.(\d+)\.attn\.qProj\.(\w+)$/, `${prefix}encoder.layer.$1.attention.self.query.$2`],
  [/^blocks\.(\d+)\.attn\.kProj\.(\w+)$/, `${prefix}encoder.layer.$1.attention.self.key.$2`],
  [/^blocks\.(\d+)\.attn\.vProj\.(\w+)$/, `${prefix}encoder.layer.$1.attention.self.value.$2`],
  [/^blocks\.(\d+)\.attn\.outProj\.(\w+)$/, `${prefix}encoder.layer.$1.attention.output.dense.$2`],
  [/^blocks\.(\d+)\.attnNorm\.(\w+)$/, `${prefix}encoder.layer.$1.attention.output.LayerNorm.$2`],
  [/^blocks\.(\d+)\.mlp\.upProj\.(\w+)$/, `${prefix}encoder.layer.$1.intermediate.dense.$2`],
  [/^blocks\.(\d+)\.mlp\.downProj\.(\w+)$/, `${prefix}encoder.layer.$1.output.dense.$2`],
  [/^blocks\.(\d+)\.mlpNorm\.(\w+)$/, `${prefix}encoder.layer.$1.output.LayerNorm.$2`],
  [/^pooler\.(\w+)$/, `${prefix}pooler.dense.$1`],
];
const distilNames: Names = [
  [/^tokenEmbedding\.weight$/, 'distilbert.embeddings.word_embeddings.weight'],
  [/^positionEmbedding\.weight$/, 'distilbert.embeddings.position_embeddings.weight'],
  [/^embeddingNorm\.(\w+)$/, 'distilbert.embeddings.LayerNorm.$1'],
  [/^blocks\.(\d+)\.attn\.([qkv])Proj\.(\w+)$/, 'distilbert.transformer.layer.$1.attention.$2_lin.$3'],
  [/^blocks\.(\d+)\.attn\.outProj\.(\w+)$/, 'distilbert.transformer.layer.$1.attention.out_lin.$2'],
  [/^blocks\.(\d+)\.attnNorm\.(\w+)$/, 'distilbert.transformer.layer.$1.sa_layer_norm.$2'],
  [/^blocks\.(\d+)\.mlp\.upProj\.(\w+)$/, 'distilbert.transformer.layer.$1.ffn.lin1.$2'],
  [/^blocks\.(\d+)\.mlp\.downProj\.(\w+)$/, 'distilbert.transformer.layer.$1.ffn.lin2.$2'],
  [/^blocks\.(\d+)\.mlpNorm\.(\w+)$/, 'distilbert.transformer.layer.$1.output_layer_norm.$2'],
];

/** The masked LM of BERT, and what stands before our names of it when it is part of a larger model. */
const bertLM = (prefix: string): Names => [
  [new RegExp(`^${prefix}transform\\.(\\w+)$`), 'cls.predictions.transform.dense.$1'],
  [new RegExp(`^${prefix}norm\\.(\\w+)$`), 'cls.predictions.transform.LayerNorm.$1'],
  [new RegExp(`^${prefix}bias$`), 'cls.predictions.bias', 'cls.predictions.decoder.bias'],
];

const heads: Record<BertVariant, Partial<Record<EncoderTask, Names>>> = {
  bert: {
    maskedLM: bertLM(''),
    pretraining: [...bertLM('lm\\.'), [/^next\.(\w+)$/, 'cls.seq_relationship.$1']],
    sequence: [[/^output\.(\w+)$/, 'classifier.$1']],
  },
  roberta: {
    maskedLM: [
      [/^transform\.(\w+)$/, 'lm_head.dense.$1'],
      [/^norm\.(\w+)$/, 'lm_head.layer_norm.$1'],
      [/^bias$/, 'lm_head.bias', 'lm_head.decoder.bias'],
    ],
    sequence: [
      [/^dense\.(\w+)$/, 'classifier.dense.$1'],
      [/^output\.(\w+)$/, 'classifier.out_proj.$1'],
    ],
  },
  distilbert: {
    maskedLM: [
      [/^transform\.(\w+)$/, 'vocab_transform.$1'],
      [/^norm\.(\w+)$/, 'vocab_layer_norm.$1'],
      [/^bias$/, 'vocab_projector.bias'],
    ],
    sequence: [
      [/^dense\.(\w+)$/, 'pre_classifier.$1'],
      [/^output\.(\w+)$/, 'classifier.$1'],
    ],
  },
  electra: {
    maskedLM: [
      [/^transform\.(\w+)$/, 'generator_predictions.dense.$1'],
      [/^norm\.(\w+)$/, 'generator_predictions.LayerNorm.$1'],
      [/^bias$/, 'generator_lm_head.bias'],
    ],
    replaced: [
      [/^dense\.(\w+)$/, 'discriminator_predictions.dense.$1'],
      [/^output\.(\w+)$/, 'discriminator_predictions.dense_prediction.$1'],
    ],
    sequence: [
      [/^dense\.(\w+)$/, 'classifier.dense.$1'],
      [/^output\.(\w+)$/, 'classifier.out_proj.$1'],
    ],
  },
};
const everyHead: Partial<Record<EncoderTask, Names>> = {
  tokens: [[/^output\.(\w+)$/, 'classifier.$1']],
  span: [[/^output\.(\w+)$/, 'qa_outputs.$1']],
};

/** The published name of our tensor `ours` in an encoder asked `task`. */
export function bertStoredAs(variant: BertVariant, task: EncoderTask, ours: string): Stored {
  const inBody = task === 'base' || ours.startsWith('bert.');
  const body = variant === 'distilbert' ? distilNames : bodyNames(`${variant}.`);
  const table = inBody ? body : (heads[variant][task] ?? everyHead[task] ?? []);
  const name = ours.replace(/^bert\./, '');
  for (const [pattern, theirs, ...aliases] of table)
    if (pattern.test(name)) return { name: name.replace(pattern, theirs), aliases };
  throw new Error(`${variant}, ${task}: the tensor ${ours} has no published name; add it to io/hugging-face-bert-names.ts`);
}
