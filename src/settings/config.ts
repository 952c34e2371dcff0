/**
 * The one schema of all training settings: for `qkv.json`, the command line, the library and the documentation.
 *
 * Precedence: default < preset (`size`, `depth`) < file < `key=value`. A preset stands where it was written: one on the command line beats the
 * file's `nLayer`, and gives way to an `nLayer` beside it. Keys whose value is `auto` are filled in by `resolve`, and the resolved settings are
 * what the run's `config.json` holds.
 */
import { readFileSync } from 'node:fs';
import { dirname, isAbsolute, resolve as resolvePath } from 'node:path';
import { z } from 'zod';
import { QkvError } from '../errors.ts';
import { nearest } from './nearest.ts';
import { type FileSetting, readSettingsFile } from './settings-file.ts';

export type Group = 'model' | 'tokenizer' | 'data' | 'training' | 'run';

/** What `qkv config keys` and docs/config.md say about a key. */
interface About {
  group: Group;
  en: string;
  zh: string;
  /** Unit of the value, where it has one. */
  unit?:
    | 'tokens'
    | 'steps'
    | 'rows'
    | 'layers'
    | 'channels'
    | 'heads'
    | 'entries'
    | 'fraction'
    | 'threads'
    | 'checkpoints'
    | 'batches';
  /** How `auto` is filled in, for keys that have it. */
  auto?: { en: string; zh: string };
}

const whole = (min: number, max = 1e9) => z.int().min(min).max(max);
const fraction = z.number().min(0).max(1);
/** Below one: a dropout of 1 keeps nothing, a β of 1 never forgets. */
const belowOne = z.number().min(0).lt(1);
const positive = z.number().positive().max(1e9);
const key = <T extends z.ZodType>(type: T, about: About) => type.meta({ ...about });

/** Model shapes by name: layers, heads, width, context. `small` … `xl` are GPT-2's (Radford et al. 2019, table 2). */
export const sizes = {
  nano: { nLayer: 2, nHead: 2, dModel: 64, contextLength: 64 },
  tiny: { nLayer: 4, nHead: 4, dModel: 128, contextLength: 64 },
  mini: { nLayer: 4, nHead: 4, dModel: 256, contextLength: 128 },
  base: { nLayer: 6, nHead: 6, dModel: 384, contextLength: 256 },
  small: { nLayer: 12, nHead: 12, dModel: 768, contextLength: 1024 },
  medium: { nLayer: 24, nHead: 16, dModel: 1024, contextLength: 1024 },
  large: { nLayer: 36, nHead: 20, dModel: 1280, contextLength: 1024 },
  xl: { nLayer: 48, nHead: 25, dModel: 1600, contextLength: 1024 },
} as const;
export type SizeName = keyof typeof sizes;
const sizeNames = Object.keys(sizes) as [SizeName, ...SizeName[]];

/** Every setting, in the order of the documentation. */
export const settings = {
  model: key(z.enum(['llama', 'gpt2']).default('llama'), {
    group: 'model',
    en: 'Architecture: llama (RoPE, RMSNorm, SwiGLU) or gpt2 (learned positions, LayerNorm, GELU)',
    zh: '结构：llama（RoPE、RMSNorm、SwiGLU）或 gpt2（可学习位置、LayerNorm、GELU）',
  }),
  size: key(z.enum(sizeNames).nullable().default(null), {
    group: 'model',
    en: 'Preset for nLayer, nHead, dModel and contextLength; the other keys are applied on top of it',
    zh: 'nLayer、nHead、dModel、contextLength 的预设；其他键在其上覆盖',
  }),
  depth: key(whole(1, 256).nullable().default(null), {
    group: 'model',
    en: 'One dial for the shape: nLayer = depth, nHead = depth, dModel = 64·depth, lr falls with √dModel; instead of size',
    zh: '一个旋钮定形状：nLayer = depth，nHead = depth，dModel = 64·depth，lr 随 √dModel 下降；与 size 二选一',
    unit: 'layers',
  }),
  nLayer: key(whole(1, 1024).default(4), { group: 'model', en: 'Transformer blocks', zh: 'Transformer 层数', unit: 'layers' }),
  nHead: key(whole(1, 1024).default(4), {
    group: 'model',
    en: 'Query heads of each attention; divides dModel',
    zh: '每层注意力的查询头数；须整除 dModel',
    unit: 'heads',
  }),
  nKvHead: key(whole(1, 1024).nullable().default(null), {
    group: 'model',
    en: 'Key and value heads (grouped-query attention); divides nHead; llama only',
    zh: '键值头数（分组查询注意力）；须整除 nHead；仅 llama',
    unit: 'heads',
    auto: { en: 'nHead', zh: 'nHead' },
  }),
  dModel: key(whole(1, 65536).default(128), { group: 'model', en: 'Width of the model', zh: '模型宽度', unit: 'channels' }),
  dFF: key(whole(1, 262144).nullable().default(null), {
    group: 'model',
    en: 'Inner width of the MLP',
    zh: 'MLP 内层宽度',
    unit: 'channels',
    auto: {
      en: 'gpt2: 4·dModel; llama: 8/3·dModel, rounded up to 32',
      zh: 'gpt2：4·dModel；llama：8/3·dModel，向上取 32 的倍数',
    },
  }),
  contextLength: key(whole(1, 1048576).default(64), {
    group: 'model',
    en: 'Tokens that the model sees at once',
    zh: '模型一次能看到的词元数',
    unit: 'tokens',
  }),
  dropout: key(belowOne.default(0), {
    group: 'model',
    en: 'Share of activations set to zero while training',
    zh: '训练时置零的激活比例',
    unit: 'fraction',
  }),
  tied: key(z.boolean().default(true), {
    group: 'model',
    en: 'Output head shares its weights with the token embedding (gpt2: always)',
    zh: '输出头与词嵌入共用权重（gpt2 总是如此）',
  }),
  qkNorm: key(z.boolean().default(false), {
    group: 'model',
    en: 'RMSNorm on queries and keys before RoPE; llama only',
    zh: 'RoPE 之前对查询和键做 RMSNorm；仅 llama',
  }),
  ropeBase: key(positive.default(10000), {
    group: 'model',
    en: 'Base of the rotary angles; llama only (Su et al. 2021)',
    zh: '旋转角的底数；仅 llama（Su 等 2021）',
  }),

  tokenizer: key(z.string().min(1).default('bpe'), {
    group: 'tokenizer',
    en: 'char, byte, bpe (trained on the data), or the path of a tokenizer.json',
    zh: 'char（字符）、byte（字节）、bpe（在数据上训练），或 tokenizer.json 的路径',
  }),
  vocabSize: key(whole(257, 1_000_000).default(2048), {
    group: 'tokenizer',
    en: 'Entries of a bpe vocabulary, its 256 bytes included; char and byte find their own',
    zh: 'bpe 词表的条目数，含 256 个字节；char 和 byte 自行确定',
    unit: 'entries',
  }),
  pattern: key(z.enum(['gpt2', 'llama3', 'qwen2', 'cjk']).default('gpt2'), {
    group: 'tokenizer',
    en: 'Where bpe may not merge across: published split patterns, or cjk for Chinese text',
    zh: 'bpe 不可跨越的切分模式：已发表的模式，或适合中文的 cjk',
  }),

  data: key(z.string().min(1).nullable().default(null), {
    group: 'data',
    en: 'Text file, JSONL file or folder; in a file relative to that file, on the command line to the current folder',
    zh: '文本文件、JSONL 文件或文件夹；写在文件里时相对该文件，写在命令行时相对当前文件夹',
  }),
  'data.field': key(z.string().min(1).default('text'), {
    group: 'data',
    en: 'Field of a JSONL row that holds the text',
    zh: 'JSONL 每行中存放文本的字段',
  }),
  'data.documents': key(z.enum(['file', 'blank-line', 'line']).default('file'), {
    group: 'data',
    en: 'What one document is in a text file',
    zh: '文本文件中什么算一篇文档',
  }),
  'data.encoding': key(z.enum(['utf-8', 'gbk', 'big5', 'latin1', 'utf-16le', 'utf-16be']).default('utf-8'), {
    group: 'data',
    en: 'Encoding of the files',
    zh: '文件编码',
  }),
  'data.encodingErrors': key(z.enum(['stop', 'skip', 'replace']).nullable().default(null), {
    group: 'data',
    en: 'Bytes that do not fit the encoding: stop, skip the row, or replace them',
    zh: '不合编码的字节：停止、跳过该行或替换',
    auto: { en: 'skip in JSONL, stop in text', zh: 'JSONL 跳过，文本停止' },
  }),
  'data.maxRejected': key(fraction.default(0.01), {
    group: 'data',
    en: 'Share of rows that may be refused before everything stops',
    zh: '允许被拒的行的比例，超过即停止',
    unit: 'fraction',
  }),
  'data.split': key(z.enum(['auto', 'hash', 'tail']).default('auto'), {
    group: 'data',
    en: 'Validation data: whole documents by the hash of their text, or the end of the text; auto takes the end of a single document',
    zh: '验证数据：按文本哈希取整篇文档（hash），或取文本末尾（tail）；auto 在只有一篇文档时取末尾',
  }),
  valFraction: key(z.number().min(0).max(0.5).default(0.1), {
    group: 'data',
    en: 'Share of the data kept apart for evaluation',
    zh: '留作验证的数据比例',
    unit: 'fraction',
  }),

  steps: key(whole(1).default(2000), { group: 'training', en: 'Optimizer steps', zh: '优化步数', unit: 'steps' }),
  batch: key(whole(1, 65536).default(16), {
    group: 'training',
    en: 'Rows of contextLength tokens in one micro-batch',
    zh: '一个微批里的行数，每行 contextLength 个词元',
    unit: 'rows',
  }),
  accumulate: key(whole(1, 65536).default(1), {
    group: 'training',
    en: 'Micro-batches whose gradients are averaged into one step',
    zh: '合成一步的微批数，梯度取平均',
    unit: 'batches',
  }),
  order: key(z.enum(['random', 'epoch']).default('random'), {
    group: 'training',
    en: 'Windows at random places, or each window once an epoch',
    zh: '随机位置的窗口，或每轮每个窗口各一次',
  }),
  lr: key(positive.default(1e-3), { group: 'training', en: 'Peak learning rate', zh: '学习率峰值' }),
  minLr: key(z.number().min(0).max(1e9).nullable().default(null), {
    group: 'training',
    en: 'Learning rate at the end of the schedule',
    zh: '调度结束时的学习率',
    auto: { en: 'lr / 10', zh: 'lr / 10' },
  }),
  warmup: key(whole(0).nullable().default(null), {
    group: 'training',
    en: 'Steps over which the learning rate rises from zero',
    zh: '学习率从零升起的步数',
    unit: 'steps',
    auto: { en: 'a twentieth of steps, at most 100', zh: 'steps 的二十分之一，至多 100' },
  }),
  schedule: key(z.enum(['cosine', 'linear', 'wsd', 'constant']).default('cosine'), {
    group: 'training',
    en: 'Learning rate after the warm-up; wsd is flat and falls over the last fifth',
    zh: '预热之后的学习率；wsd 先平后在最后五分之一下降',
  }),
  beta1: key(belowOne.default(0.9), {
    group: 'training',
    en: 'AdamW: decay of the mean of gradients',
    zh: 'AdamW：梯度均值的衰减',
  }),
  beta2: key(belowOne.default(0.99), {
    group: 'training',
    en: 'AdamW: decay of the mean of squared gradients; 0.99 for short runs, 0.95–0.999 for long ones',
    zh: 'AdamW：梯度平方均值的衰减；短训练 0.99，长训练 0.95–0.999',
  }),
  eps: key(positive.default(1e-8), { group: 'training', en: 'AdamW: added to the denominator', zh: 'AdamW：加在分母上' }),
  weightDecay: key(z.number().min(0).max(1e3).default(0.1), {
    group: 'training',
    en: 'AdamW: decoupled decay of matrices (not of norms and biases)',
    zh: 'AdamW：对矩阵的解耦衰减（不含归一化与偏置）',
  }),
  clip: key(z.number().min(0).max(1e9).default(1), {
    group: 'training',
    en: 'Largest norm of the whole gradient; 0 leaves it alone',
    zh: '整个梯度的最大范数；0 表示不裁剪',
  }),
  precision: key(z.enum(['fp32', 'bf16']).default('fp32'), {
    group: 'training',
    en: 'Compute in fp32, or in bf16 with fp32 master weights',
    zh: '用 fp32 计算，或用 bf16 计算、fp32 存主权重',
  }),
  seed: key(z.int().min(0).max(Number.MAX_SAFE_INTEGER).default(1337), {
    group: 'training',
    en: 'Start of all randomness; the same seed gives the same run',
    zh: '一切随机性的起点；同一种子得到同一次训练',
  }),

  name: key(
    z
      .string()
      .regex(/^[\p{L}\p{N}][\p{L}\p{M}\p{N}._-]{0,63}$/u)
      .nullable()
      .default(null),
    {
      group: 'run',
      en: 'Name of the run, its folder under runs/',
      zh: '运行的名字，即 runs/ 下的文件夹',
      auto: { en: 'the folder or file of the data, and a number', zh: '数据的文件夹或文件名加编号' },
    },
  ),
  evalEvery: key(whole(0).default(200), {
    group: 'run',
    en: 'Steps between evaluations; 0 for none but the last',
    zh: '两次评估之间的步数；0 表示只在最后',
    unit: 'steps',
  }),
  evalBatches: key(whole(1).default(20), {
    group: 'run',
    en: 'Micro-batches of the validation data in one evaluation',
    zh: '一次评估用的验证微批数',
    unit: 'batches',
  }),
  sampleEvery: key(whole(0).default(400), {
    group: 'run',
    en: 'Steps between samples of text; 0 for none',
    zh: '两次样例文本之间的步数；0 表示没有',
    unit: 'steps',
  }),
  samplePrompt: key(z.string().nullable().default(null), {
    group: 'run',
    en: 'What the samples continue',
    zh: '样例的开头',
    auto: { en: 'the first words of the validation data', zh: '验证数据的开头几个词' },
  }),
  sampleTokens: key(whole(1, 100_000).default(48), { group: 'run', en: 'Length of a sample', zh: '样例长度', unit: 'tokens' }),
  saveEvery: key(whole(0).default(500), {
    group: 'run',
    en: 'Steps between checkpoints; 0 for none but the last',
    zh: '两个检查点之间的步数；0 表示只在最后',
    unit: 'steps',
  }),
  keep: key(whole(1, 10_000).default(2), {
    group: 'run',
    en: 'Newest checkpoints that stay, beside the best one',
    zh: '除最佳者外保留的最新检查点数',
    unit: 'checkpoints',
  }),
  threads: key(whole(1, 1024).nullable().default(null), {
    group: 'run',
    en: 'Threads of the native back-end',
    zh: '本机后端的线程数',
    unit: 'threads',
    auto: { en: 'the cores of the machine', zh: '机器的核数' },
  }),
  backend: key(z.enum(['native', 'reference']).nullable().default(null), {
    group: 'run',
    en: 'Where tensors live: native (C++) or reference (TypeScript, slow)',
    zh: '张量所在：native（C++）或 reference（TypeScript，慢）',
    auto: { en: 'native, where it was built', zh: '已编译则用 native' },
  }),
} satisfies Record<string, z.ZodType>;

const schema = z.strictObject(settings);

/** Any part of the settings, as a person writes them. */
export type TrainSettings = z.input<typeof schema>;
export type SettingKey = keyof typeof settings;
export const settingKeys = Object.keys(settings) as SettingKey[];

type Output = z.output<typeof schema>;
type Filled = 'nKvHead' | 'dFF' | 'minLr' | 'warmup' | 'data';
/** All settings, resolved: every key is there, and every number that the model and the optimizer need is filled in. Plain JSON. */
export type TrainConfig = { [K in keyof Output]: K extends Filled ? NonNullable<Output[K]> : Output[K] };

/** What the schema says about a key. */
export const about = (name: SettingKey): About => settings[name].meta() as unknown as About;

/** The default of a key, as JSON. */
export const defaultOf = (name: SettingKey): unknown => settings[name].parse(undefined);

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
    const isPath = name === 'data' || (name === 'tokenizer' && !['char', 'byte', 'bpe'].includes(String(value)));
    const anchored = isPath && typeof value === 'string' && !isAbsolute(value) ? resolvePath(dirname(path), value) : value;
    return { key: name, value: anchored, at: { file: path, line } };
  });
}

/** `key=value` words of the command line, typed by the schema. */
export function settingsOfArguments(words: readonly { key: string; text: string }[]): Written[] {
  return words.map(({ key: name, text }) => {
    const at = { argument: `${name}=${text}` };
    if (!isKey(name)) throw unknownSetting(name, at);
    let value: unknown = typed(text, name);
    if (name === 'data' && typeof value === 'string') value = resolvePath(value);
    if (name === 'tokenizer' && typeof value === 'string' && !['char', 'byte', 'bpe'].includes(value)) value = resolvePath(value);
    return { key: name, value, at };
  });
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
function checked(written: Written): unknown {
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
    if (o.type === 'array') return { en: 'a list', zh: '列表' };
    const low = o.exclusiveMinimum !== undefined ? `> ${o.exclusiveMinimum}` : o.minimum !== undefined ? `≥ ${o.minimum}` : '';
    const high = o.exclusiveMaximum !== undefined ? `< ${o.exclusiveMaximum}` : largest(o.maximum);
    const range = [low, high].filter(Boolean).join(', ');
    return o.type === 'integer'
      ? { en: `a whole number ${range}`, zh: `整数 ${range}` }
      : { en: `a number ${range}`, zh: `数 ${range}` };
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
  pattern?: string;
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: number;
  exclusiveMaximum?: number;
}

/** The layers of settings put together, and where each value came from. */
export interface Resolved {
  config: TrainConfig;
  /** Place of every key that a person wrote. */
  places: Map<string, Place>;
  /** Values of the command line that replaced another one of the file: `[key, before, after]`. */
  overrides: [key: string, before: unknown, after: unknown][];
}

/**
 * Puts defaults, presets, the file and the command line together, fills in what is `auto`, and checks that the parts fit.
 * @throws E101 unknown key · E102 not divisible · E103 value not possible · E105 no data (unless `needData` is false) · E106 size and depth together · E111 not in this architecture
 */
export function resolve(file: readonly Written[], words: readonly Written[], { needData = true } = {}): Resolved {
  const places = new Map<string, Place>();
  const overrides: Resolved['overrides'] = [];
  const values: Record<string, unknown> = schema.parse({});
  for (const source of [file, words]) {
    const own = new Map(source.map((w) => [w.key, checked(w)]));
    const size = own.get('size') as SizeName | null | undefined;
    const depth = own.get('depth') as number | null | undefined;
    if (size != null && depth != null) {
      throw new QkvError('E106', 'size and depth both set the shape of the model; give one of them', {
        at: source.find((w) => w.key === 'depth')!.at,
      });
    }
    if (size != null) Object.assign(values, shapeFree, sizes[size], { depth: null });
    if (depth != null) Object.assign(values, shapeFree, shapeOfDepth(depth), { size: null });
    for (const { key: name, at } of source) {
      const value = own.get(name);
      if (source === words && places.has(name) && values[name] !== value) overrides.push([name, values[name], value]);
      values[name] = value;
      places.set(name, at);
    }
  }
  if (needData && values['data'] == null)
    throw new QkvError('E105', 'no data to train on: add data=FILE-or-FOLDER', { key: 'data' });
  const config = fill(values as Output);
  checkShape(config, places);
  return { config, places, overrides };
}

/** A preset is a whole shape: widths that follow from it are worked out again. */
const shapeFree = { nKvHead: null, dFF: null };

/** The whole shape from one number: d layers of d heads, 64 channels a head; lr ∝ 1/√dModel, 10⁻³ at 384 channels. */
export const shapeOfDepth = (depth: number) => ({
  nLayer: depth,
  nHead: depth,
  dModel: 64 * depth,
  contextLength: depth < 4 ? 64 : depth < 8 ? 256 : 1024,
  lr: Number((1e-3 * Math.sqrt(384 / (64 * depth))).toPrecision(2)),
});

function fill(values: Output): TrainConfig {
  const { model, dModel, nHead, lr, steps } = values;
  return {
    ...values,
    data: values.data ?? '',
    nKvHead: values.nKvHead ?? nHead,
    // SwiGLU has three matrices where GELU has two: ⅔ of 4·dModel keeps the parameters (Shazeer 2020), 32 suits the kernels.
    dFF: values.dFF ?? (model === 'gpt2' ? 4 * dModel : 32 * Math.ceil((8 * dModel) / 3 / 32)),
    minLr: values.minLr ?? Number((lr / 10).toPrecision(12)),
    warmup: values.warmup ?? Math.min(100, Math.floor(steps / 20)),
  };
}

/** What the sizes must have to do with each other. */
function checkShape(config: TrainConfig, places: Map<string, Place>): void {
  const { model, dModel, nHead, nKvHead } = config;
  const place = (...keys: SettingKey[]) => keys.map((k) => places.get(k)).find(Boolean);
  // RoPE turns pairs of channels, so its heads must also be even.
  const unit = model === 'llama' ? 2 * nHead : nHead;
  if (dModel % nHead !== 0 || dModel % unit !== 0) {
    const even = dModel % nHead === 0;
    const tries = [Math.floor(dModel / unit) * unit, Math.ceil(dModel / unit) * unit].filter((n) => n > 0);
    throw new QkvError(
      'E102',
      even
        ? `headDim = dModel / nHead = ${dModel / nHead} must be even for RoPE. Try ${tries.join(' or ')}`
        : `dModel=${dModel} is not divisible by nHead=${nHead}. Try ${tries.join(' or ')}`,
      { rule: even ? 'even' : 'dModel', dModel, nHead, tries, at: place('dModel', 'nHead', 'size') },
    );
  }
  if (nHead % nKvHead !== 0) {
    const tries = Array.from({ length: nHead }, (_, i) => i + 1).filter((n) => nHead % n === 0);
    throw new QkvError('E102', `nHead=${nHead} is not divisible by nKvHead=${nKvHead}. Try ${tries.join(', ')}`, {
      rule: 'nKvHead',
      nHead,
      nKvHead,
      tries,
      at: place('nKvHead', 'nHead'),
    });
  } // A setting that the architecture does not have is an error when it asks for something else than the architecture does.
  if (model === 'gpt2') {
    const fixed = { nKvHead: nHead, dFF: 4 * dModel, tied: true, qkNorm: false, ropeBase: 10000 } as const;
    for (const [name, value] of Object.entries(fixed)) {
      if (config[name as SettingKey] !== value) {
        throw new QkvError(
          'E111',
          `${name}=${config[name as SettingKey]} does not apply to model=gpt2, whose ${name} is always ${value}`,
          {
            key: name,
            model,
            value,
            at: place(name as SettingKey),
          },
        );
      }
    }
  }
}
