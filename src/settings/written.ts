// Settings as a person writes them, in a file or on the command line: typed by the schema, checked one by one, and remembered with their place.
import { readFileSync } from 'node:fs';
import { dirname, resolve as resolvePath } from 'node:path';
import { z } from 'zod';
import { QkvError } from '../errors.ts';
import { withPaths } from './mixture.ts';
import { nearest } from './nearest.ts';
import { settings } from './schema.ts';
import { type FileSetting, readSettingsFile } from './settings-file.ts';

export type SettingKey = keyof typeof settings;
export const settingKeys = Object.keys(settings) as SettingKey[];

/** A setting and where it was written, for messages. */
export interface Written {
  key: string;
  value: unknown;
  /** A file with its line, or the words on the command line. */
  at: Place;
}
export type Place = { file: string; line: number } | { argument: string };

/** Settings of a file, with the lines they stand in. `data` and a tokenizer's path are relative to the file. */
export function settingsOfFile(path: string): Written[] {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (e) {
    const code = (e as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ENOTDIR') throw new QkvError('E182', `no such file: ${path}`, { path });
    throw new QkvError('E183', `cannot read ${path} (${code})`, { path, reason: code ?? '' });
  }
  return readSettingsFile(text, path).map(({ key: name, value, line }: FileSetting) => {
    return { key: name, value: anchored(name, value, dirname(path)), at: { file: path, line } };
  });
}

/** `key=value` words of the command line, typed by the schema. */
export function settingsOfArguments(words: readonly { key: string; text: string }[]): Written[] {
  return words.map(({ key: name, text }) => {
    const at = { argument: `${name}=${text}` };
    if (!isKey(name)) throw unknownSetting(name, at);
    return { key: name, value: anchored(name, typed(text, name), '.'), at };
  });
}

/** Tokenizers that are made, not read. */
export const tokenizerKinds: readonly string[] = ['char', 'byte', 'bpe', 'wordpiece', 'unigram'];

/** Whether the value of a key is a path. */
const isPath = (name: string, value: string): boolean =>
  ['data', 'data.targetFile', 'from'].includes(name) || (name === 'tokenizer' && !tokenizerKinds.includes(value));

/** The value of a key with its paths told from a folder. */
function anchored(name: string, value: unknown, folder: string): unknown {
  if (typeof value !== 'string') return value;
  if (name === 'data.mix') return withPaths(value, (path) => resolvePath(folder, path));
  return isPath(name, value) ? resolvePath(folder, value) : value;
}

const isKey = (name: string): name is SettingKey => Object.hasOwn(settings, name);

/** The text of `key=value` as the type that the schema asks for. Nothing is evaluated: numbers, true, false, auto (null), else the text itself. */
export function typed(text: string, name: string, table: Record<string, z.ZodType> = settings): unknown {
  const type = table[name];
  const fits = (value: unknown) => type.safeParse(value).success;
  if (['auto', 'null', 'none'].includes(text) && fits(null)) return null;
  if (fits(text)) return text;
  if (text === 'true' || text === 'false') return text === 'true';
  if (/^[-+]?(\d[\d_]*\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(text)) return Number(text.replaceAll('_', ''));
  if (/^\[.*\]$/s.test(text)) {
    try {
      return JSON.parse(text);
    } catch {
      return text;
    }
  }
  return text;
}

/** E101, with the nearest key and what other programs call it. */
export function unknownSetting(
  name: string,
  at: Place,
  { keys = settingKeys, text = false }: { keys?: readonly string[]; text?: boolean } = {},
): QkvError {
  const best = nearest(name, keys, foreignNames);
  return new QkvError('E101', `unknown setting "${name}"${best ? `. Did you mean ${best}?` : ''} (qkv config keys)`, {
    key: name,
    at,
    nearest: best,
    keys: [...keys],
    ...(text && { text }),
  });
}

/** What other programs call our settings. */
const foreignNames: Record<string, SettingKey> = {
  n_layer: 'nLayer',
  num_hidden_layers: 'nLayer',
  layers: 'nLayer',
  n_head: 'nHead',
  num_attention_heads: 'nHead',
  heads: 'nHead',
  num_key_value_heads: 'nKvHead',
  n_embd: 'dModel',
  hidden_size: 'dModel',
  d_model: 'dModel',
  width: 'dModel',
  intermediate_size: 'dFF',
  block_size: 'contextLength',
  context: 'contextLength',
  seq_len: 'contextLength',
  max_position_embeddings: 'contextLength',
  vocab_size: 'vocabSize',
  batch_size: 'batch',
  batchSize: 'batch',
  gradient_accumulation_steps: 'accumulate',
  learning_rate: 'lr',
  learningRate: 'lr',
  min_lr: 'minLr',
  max_iters: 'steps',
  max_steps: 'steps',
  iters: 'steps',
  warmup_iters: 'warmup',
  warmup_steps: 'warmup',
  weight_decay: 'weightDecay',
  grad_clip: 'clip',
  eval_interval: 'evalEvery',
  eval_iters: 'evalBatches',
  save_every: 'saveEvery',
  dtype: 'precision',
  tie_word_embeddings: 'tied',
  dataset: 'data',
  text: 'data',
};

/** One value checked: E103 with what is allowed. */
export function checked(written: Written): unknown {
  const { key: name, value, at } = written;
  if (!isKey(name)) throw unknownSetting(name, at);
  return checkedValue(name, value, at, settings);
}

export function checkedValue(name: string, value: unknown, at: Place, table: Record<string, z.ZodType>): unknown {
  const result = table[name].safeParse(value);
  if (result.success) return result.data;
  const allowed = allowedValues(table[name]);
  throw new QkvError('E103', `${name}=${JSON.stringify(value)} is not possible. Allowed: ${allowed.en}`, {
    key: name,
    value,
    at,
    allowed: allowed.en,
    allowedZh: allowed.zh,
  });
}

/** The values that a key takes, in words: `1 … 1024`, `fp32 | bf16`, `true | false`. */
export function allowedValues(type: z.ZodType): { en: string; zh: string } {
  const json = z.toJSONSchema(type, { io: 'input', unrepresentable: 'any' }) as JsonSchema;
  const options = (json.anyOf ?? [json]).filter((o) => o.type !== 'null');
  const auto = options.length < (json.anyOf ?? [json]).length;
  const said = options.map((o) => {
    if (o.enum) return both(o.enum.join(' | '));
    if (o.type === 'boolean') return both('true | false');
    if (o.type === 'string')
      return o.pattern ? { en: 'letters, digits, - _ .', zh: '字母、数字、- _ .' } : { en: 'text', zh: '文本' };
    if (o.type === 'array') {
      const of = o.items?.enum?.join(', ');
      return { en: `a list${of ? ` of ${of}` : ''}`, zh: `列表${of ? `，可含 ${of}` : ''}` };
    }
    const low = o.exclusiveMinimum !== undefined ? `> ${o.exclusiveMinimum}` : o.minimum !== undefined ? `≥ ${o.minimum}` : '';
    const high = o.exclusiveMaximum !== undefined ? `< ${o.exclusiveMaximum}` : largest(o.maximum);
    const bounds = [low, high].filter(Boolean);
    const range = bounds.join(', ');
    return o.type === 'integer'
      ? { en: `a whole number ${range}`, zh: `整数 ${bounds.join('，')}` }
      : { en: `a number ${range}`, zh: `数 ${bounds.join('，')}` };
  });
  return {
    en: said.map((s) => s.en.trim()).join(' | ') + (auto ? ' | auto' : ''),
    zh: said.map((s) => s.zh.trim()).join(' | ') + (auto ? ' | auto' : ''),
  };
}

/** Guards such as 10⁹ are no news to a person. */
const largest = (max: number | undefined) => (max === undefined || max >= 1e9 ? '' : `≤ ${max}`);
const both = (text: string) => ({ en: text, zh: text });

interface JsonSchema {
  type?: string;
  enum?: unknown[];
  anyOf?: JsonSchema[];
  items?: JsonSchema;
  pattern?: string;
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: number;
  exclusiveMaximum?: number;
}
