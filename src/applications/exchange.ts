// What somebody published, loaded whole: the ground on which models come in as runs and runs go out in the forms that others read.

import {
  CheckpointError,
  type EncoderTask,
  type EncoderTasks,
  loadEncoder,
  loadEncoderDecoder,
  loadPretrained,
  type Published,
} from '../io/index.ts';
import type { DecoderShape } from '../io/gguf-models.ts';
import type { BertVariant, Decoder, T5 } from '../models/index.ts';

/** What somebody published, loaded: the model with what its family needs to be written again. */
export type LoadedPublished =
  | { kind: 'decoder'; model: Decoder; settings: DecoderShape }
  | { kind: 'encoder'; model: EncoderTasks[EncoderTask]; task: EncoderTask; variant: BertVariant; fresh: string[] }
  | { kind: 'encoder-decoder'; model: T5; startId: number; endId: number };

const encoders = ['bert', 'roberta', 'xlm-roberta', 'camembert', 'distilbert', 'electra'];

/**
 * Loads the weights; what does not fit is said with the nearest names. `whole`: a BERT as it was pre-trained with its pooler and its head for the next
 * sentence, else with its masked LM alone. @throws CheckpointError CONFIG, MODEL_MISMATCH and those of the readers */
export function loadPublished(published: Published, { whole = false } = {}): LoadedPublished {
  const type = String(published.config['model_type']);
  if (type.startsWith('qkv_'))
    throw new CheckpointError(
      'CONFIG',
      published.source,
      `the family ${type.slice(4)} has no published form`,
      'It stays a run of qkv',
      1,
    );
  if (type === 't5' || type === 'mt5') return { kind: 'encoder-decoder', ...loadEncoderDecoder(published) };
  if (encoders.includes(type)) {
    const { tensors } = published.weights;
    const pretrained =
      type === 'bert' && ['cls.seq_relationship.weight', 'bert.pooler.dense.weight'].every((n) => tensors.has(n));
    return { kind: 'encoder', ...loadEncoder(published, whole && pretrained ? { task: 'pretraining' } : {}) };
  }
  const { model, settings } = loadPretrained(published);
  return { kind: 'decoder', model, settings };
}

/** Ids with a meaning, from generation_config.json and config.json; the chat template, from tokenizer_config.json. */
export function idsAndTemplate(published: Published) {
  const read = (name: string): Record<string, unknown> => {
    const file = published.others.find((other) => other.name === name);
    return file ? (JSON.parse(new TextDecoder().decode(file.bytes)) as Record<string, unknown>) : {};
  };
  const generation = read('generation_config.json');
  const numbers = (value: unknown): number[] => [value].flat().filter((v): v is number => typeof v === 'number');
  const first = (key: string): number[] =>
    [numbers(generation[key]), numbers(published.config[key])].find((list) => list.length > 0) ?? [];
  const jinja = published.others.find((other) => other.name === 'chat_template.jinja');
  const template = jinja ? new TextDecoder().decode(jinja.bytes) : read('tokenizer_config.json')['chat_template'];
  return {
    ids: { bos: first('bos_token_id')[0], eos: first('eos_token_id'), pad: first('pad_token_id')[0] },
    chatTemplate: typeof template === 'string' ? template : undefined,
  };
}

export const json = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;
