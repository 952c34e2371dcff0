// BERT, RoBERTa, DistilBERT and ELECTRA: their published names and settings ↔ ours.

import {
  type BertConfig,
  type BertVariant,
  Bert,
  BertPretraining,
  bertVariants,
  MaskedLM,
  ReplacedTokenDetector,
  SequenceClassifier,
  SpanReader,
  TokenClassifier,
} from '../models/index.ts';
import { type Activation, dispose, stateDict } from '../nn/index.ts';
import { Rng } from '../tensor/index.ts';
import { bertStoredAs } from './hugging-face-bert-names.ts';
import { fillPublished } from './model-weights.ts';
import { configOf, type PublishedSource } from './published.ts';
import { PublishedConfig } from './published-config.ts';

/** What an encoder is asked; `base` gives hidden states. */
export interface EncoderTasks {
  base: Bert;
  maskedLM: MaskedLM;
  pretraining: BertPretraining;
  sequence: SequenceClassifier;
  tokens: TokenClassifier;
  span: SpanReader;
  replaced: ReplacedTokenDetector;
}
export type EncoderTask = keyof EncoderTasks;

const activations: Record<string, Activation> = {
  gelu: 'gelu',
  gelu_new: 'geluTanh',
  gelu_pytorch_tanh: 'geluTanh',
  relu: 'relu',
  silu: 'silu',
};
const variantNames: Record<string, BertVariant> = {
  bert: 'bert',
  roberta: 'roberta',
  'xlm-roberta': 'roberta',
  camembert: 'roberta',
  distilbert: 'distilbert',
  electra: 'electra',
};
/** The activation between the two matrices of a classification head. */
export const headActivation: Record<BertVariant, Activation> = {
  bert: 'tanh',
  roberta: 'tanh',
  distilbert: 'relu',
  electra: 'gelu',
};

/** config.json of an encoder as our settings. @throws CheckpointError CONFIG */
export const bertSettingsOf = (config: Record<string, unknown>, file: string): { variant: BertVariant; settings: BertConfig } =>
  settingsOf(new PublishedConfig(config, file));

function settingsOf(c: PublishedConfig): { variant: BertVariant; settings: BertConfig } {
  const variant = c.choice('model_type', variantNames, '');
  if (c.has('position_embedding_type') && c.values['position_embedding_type'] !== 'absolute')
    c.fail(`position_embedding_type ${JSON.stringify(c.values['position_embedding_type'])} is not read; absolute is`);
  if (c.flag('is_decoder', false)) c.fail('is_decoder is true; BERT is an encoder in this reader');
  const common = { vocabSize: c.whole('vocab_size'), ...bertVariants[variant] };
  if (variant === 'distilbert') {
    return {
      variant,
      settings: {
        ...common,
        contextLength: c.whole('max_position_embeddings', 512),
        nLayer: c.whole('n_layers', 6),
        nHead: c.whole('n_heads', 12),
        dModel: c.whole('dim', 768),
        dFF: c.whole('hidden_dim', 3072),
        activation: c.choice('activation', activations, 'gelu'),
      },
    };
  }
  const dModel = c.whole('hidden_size', variant === 'electra' ? 256 : 768);
  // The rows up to that of the padding belong to it: id 1 in what was published.
  const firstPosition = variant === 'roberta' ? c.number('pad_token_id', 1) + 1 : 0;
  if (!Number.isSafeInteger(firstPosition) || firstPosition < 0) c.fail(`pad_token_id is ${firstPosition - 1}`);
  return {
    variant,
    settings: {
      ...common,
      firstPosition,
      contextLength: c.whole('max_position_embeddings', 512) - firstPosition,
      nLayer: c.whole('num_hidden_layers', 12),
      nHead: c.whole('num_attention_heads', variant === 'electra' ? 4 : 12),
      dModel,
      dFF: c.whole('intermediate_size', variant === 'electra' ? 1024 : 3072),
      embeddingSize: variant === 'electra' ? c.whole('embedding_size', 128) : dModel,
      nSegment: c.whole('type_vocab_size', 2),
      activation: c.choice('hidden_act', activations, 'gelu'),
      normEps: c.number('layer_norm_eps', 1e-12),
    },
  };
}

const published: Record<BertVariant, string> = { bert: 'Bert', roberta: 'Roberta', distilbert: 'DistilBert', electra: 'Electra' };
const classEnds: Record<EncoderTask, string> = {
  base: 'Model',
  maskedLM: 'ForMaskedLM',
  pretraining: 'ForPreTraining',
  sequence: 'ForSequenceClassification',
  tokens: 'ForTokenClassification',
  span: 'ForQuestionAnswering',
  replaced: 'ForPreTraining',
};

/** config.json of an encoder and its head as `from_pretrained` reads it. */
export function publishedBertConfig(
  variant: BertVariant,
  task: EncoderTask,
  c: Bert['config'],
  { labels = 2, padId = 0 } = {},
): Record<string, unknown> {
  const common = {
    architectures: [`${published[variant]}${classEnds[task]}`],
    model_type: variant,
    torch_dtype: 'float32',
    vocab_size: c.vocabSize,
    max_position_embeddings: c.contextLength + c.firstPosition,
    pad_token_id: c.firstPosition > 0 ? c.firstPosition - 1 : padId,
    id2label: Object.fromEntries(Array.from({ length: labels }, (_, i) => [i, `LABEL_${i}`])),
    label2id: Object.fromEntries(Array.from({ length: labels }, (_, i) => [`LABEL_${i}`, i])),
  };
  const activation = Object.keys(activations).find((key) => activations[key] === c.activation);
  if (variant === 'distilbert') {
    const shape = { dim: c.dModel, hidden_dim: c.dFF, n_layers: c.nLayer, n_heads: c.nHead };
    return { ...common, ...shape, activation, dropout: c.dropout, attention_dropout: c.dropout };
  }
  return {
    ...common,
    hidden_size: c.dModel,
    intermediate_size: c.dFF,
    num_hidden_layers: c.nLayer,
    num_attention_heads: c.nHead,
    type_vocab_size: c.nSegment,
    hidden_act: activation,
    layer_norm_eps: c.normEps,
    hidden_dropout_prob: c.dropout,
    attention_probs_dropout_prob: c.dropout,
    ...(variant === 'electra' ? { embedding_size: c.embeddingSize } : {}),
  };
}

const tasksByClass: [RegExp, EncoderTask][] = [
  [/^Electra\w*ForPreTraining$/, 'replaced'],
  [/For(MaskedLM|PreTraining)$/, 'maskedLM'],
  [/ForSequenceClassification$/, 'sequence'],
  [/ForTokenClassification$/, 'tokens'],
  [/ForQuestionAnswering$/, 'span'],
];

export interface LoadEncoderOptions<K extends EncoderTask> {
  /** What the file was saved for, when left out; a head that the file lacks begins with random weights. */
  task?: K;
  /** Labels of a new head; those of the file when left out. */
  labels?: number;
  dropout?: number;
  seed?: number;
  /** false: BERT without its pooler, which only some tasks use. */
  pooler?: false;
}
export interface LoadedEncoder<K extends EncoderTask> {
  model: EncoderTasks[K];
  task: K;
  variant: BertVariant;
  /** Published names of tensors that the file does not have: the new head, to be trained. */
  fresh: string[];
}

/** What a head for masks of ours takes from its encoder: the matrix of the embeddings, and the activation. */
function checkMaskHead(c: PublishedConfig, variant: BertVariant, saved: boolean): void {
  if (saved && !c.flag('tie_word_embeddings', true)) c.fail('tie_word_embeddings is false; the head for masks shares its matrix');
  const always = variant === 'roberta' || variant === 'electra';
  if (saved && always && c.choice('hidden_act', activations, 'gelu') !== 'gelu')
    c.fail(
      `hidden_act is ${JSON.stringify(c.values['hidden_act'])}; the head for masks of this class has gelu, ours has that of the blocks`,
    );
}

/** Heads and buffers that a file may have beside what was asked for. */
const otherParts =
  /position_ids$|pooler\.|^cls\.|^lm_head\.|^classifier\.|^qa_outputs\.|^pre_classifier\.|^vocab_|^(discriminator|generator)_|^score\./;

/**
 * An encoder of the BERT family from a folder as `save_pretrained` writes it, with the head asked for.
 * @throws CheckpointError CONFIG, MODEL_MISMATCH and those of the reader
 */
export function loadEncoder<K extends EncoderTask = EncoderTask>(
  source: PublishedSource,
  options: LoadEncoderOptions<K> = {},
): LoadedEncoder<K> {
  const { file, config } = configOf(source);
  const c = new PublishedConfig(config, file);
  const { variant, settings } = settingsOf(c);
  const saved = tasksByClass.find(([name]) => name.test(c.architecture))?.[1] ?? 'base';
  const task = options.task ?? (saved as K);
  if (task === 'maskedLM' || task === 'pretraining') checkMaskHead(c, variant, saved === 'maskedLM');
  const labels = options.labels ?? Object.keys((config['id2label'] as object | undefined) ?? { 0: '', 1: '' }).length;
  const pooler = variant === 'bert' && ['base', 'sequence', 'pretraining'].includes(task) && options.pooler !== false;
  const rng = new Rng(options.seed ?? 0);
  const bert = new Bert({ ...settings, pooler, dropout: options.dropout ?? 0 }, rng);
  const build: { [T in EncoderTask]: () => EncoderTasks[T] } = {
    base: () => bert,
    maskedLM: () => new MaskedLM(bert, rng),
    pretraining: () => new BertPretraining(new MaskedLM(bert, rng), rng),
    sequence: () => new SequenceClassifier(bert, labels, rng, { activation: headActivation[variant] }),
    tokens: () => new TokenClassifier(bert, labels, rng),
    span: () => new SpanReader(bert, rng),
    replaced: () => new ReplacedTokenDetector(bert, rng),
  };
  const model = build[task]();
  try {
    const wanted = [...stateDict(model)].map(([name, t]) => ({ t, ...bertStoredAs(variant, task, name) }));
    const mayBeNew = task === saved ? /pooler\./ : otherParts;
    const fresh = fillPublished(source, wanted, `${variant}.`, otherParts, { optional: (name) => mayBeNew.test(name) });
    return { model, task, variant, fresh };
  } catch (error) {
    dispose(model);
    throw error;
  }
}
