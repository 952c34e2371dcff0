// What somebody published, opened: whatever the container is, from here on it is a config.json and tensors under Hugging Face's names.

import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { CheckpointError } from './checkpoint-error.ts';
import { readSmallFile } from './file-system.ts';
import type { SafetensorsReader } from './safetensors.ts';
import { tokenizerOfFolder } from './published-tokenizer.ts';
import { parseStrictJson, toPlain } from './strict-json.ts';
import { openWeights, weightsFile, weightsKind } from './weights.ts';

export interface Published {
  /** What was asked for: a path, later also an id of a hub. */
  source: string;
  /** The container, for people: `safetensors`, `PyTorch`, `GGUF` … */
  kind: string;
  /** config.json as transformers writes it; made from the file's own keys where the container has another form. */
  config: Record<string, unknown>;
  /** Where `config` is from, for messages. */
  configFile: string;
  /** Tensors under the names of Hugging Face's files, whatever they are called inside. */
  weights: SafetensorsReader;
  /** The text of tokenizer.json, when there is a tokenizer that we read. */
  tokenizerJson?: string;
  /** Small files that belong to it: generation_config.json, tokenizer_config.json … */
  others: { name: string; bytes: Uint8Array }[];
  /** What a person should know: how a tokenizer was made, what was left out. */
  notes: string[];
  close(): void;
}

const companions = ['generation_config.json', 'tokenizer_config.json', 'special_tokens_map.json', 'chat_template.jinja'];

/**
 * Opens a model that somebody else made: a folder in Hugging Face's layout (safetensors, PyTorch or TensorFlow, whole or in shards), one such file with its
 * config.json beside it, or a GGUF file. Nothing is loaded but the small files.
 * @throws CheckpointError NOT_FOUND, CONFIG, NO_WEIGHTS and those of the readers
 */
export async function openPublished(source: string): Promise<Published> {
  if (!existsSync(source)) throw new CheckpointError('NOT_FOUND', source, 'there is no such file or folder', '', 3);
  const folder = statSync(source).isDirectory();
  if (!folder && source.endsWith('.gguf')) return (await import('./gguf-published.ts')).openPublishedGguf(source);
  const published = openPublishedFolder(folder ? source : dirname(source), source);
  try {
    const { json, note } = await tokenizerOfFolder(folder ? source : dirname(source));
    return { ...published, tokenizerJson: json, notes: note === undefined ? published.notes : [...published.notes, note] };
  } catch (error) {
    published.close();
    throw error;
  }
}

/** A folder in Hugging Face's layout; `weights` is the folder, or one file of it. */
export function openPublishedFolder(folder: string, weights = folder): Published {
  const { config, file } = readPublishedConfig(folder);
  const others = companions
    .filter((name) => existsSync(join(folder, name)))
    .map((name) => ({ name, bytes: readSmallFile(join(folder, name)) }));
  const reader = openWeights(weights);
  const tokenizer = join(folder, 'tokenizer.json');
  return {
    source: weights,
    kind: weightsKind(weightsFile(weights)),
    config,
    configFile: file,
    weights: reader,
    tokenizerJson: existsSync(tokenizer) ? readFileSync(tokenizer, 'utf8') : undefined,
    others,
    notes: [],
    close: () => reader.close(),
  };
}

/** config.json of a folder, or the bert_config.json that Google published. @throws CheckpointError CONFIG when there is none, and those of the JSON reader */
export function readPublishedConfig(folder: string): { file: string; config: Record<string, unknown> } {
  const file = join(folder, 'config.json');
  const google = join(folder, 'bert_config.json');
  if (!existsSync(file) && existsSync(google))
    return { file: google, config: { model_type: 'bert', architectures: ['BertForPreTraining'], ...readConfig(google) } };
  if (!existsSync(file))
    throw new CheckpointError('CONFIG', file, 'there is no such file', 'A published model has one beside its weights');
  return { file, config: readConfig(file) };
}
const readConfig = (file: string) => toPlain(parseStrictJson(readFileSync(file), { file })) as Record<string, unknown>;

/** The same model by its folder, or as it is open already: what the loaders take. */
export type PublishedSource = string | Pick<Published, 'config' | 'configFile' | 'weights' | 'source'>;

export const configOf = (source: PublishedSource): { file: string; config: Record<string, unknown> } =>
  typeof source === 'string' ? readPublishedConfig(source) : { file: source.configFile, config: source.config };
