/** Every setting with its type, default and meaning, in the order of the documentation. What they have to do with each other: config.ts, families.ts. */
import { z } from 'zod';
import { familyNames, objectives } from './families.ts';

export type Group = 'model' | 'tokenizer' | 'data' | 'training' | 'run';

/** What `qkv config keys` and docs/config.md say about a key. */
export interface About {
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
  model: key(z.enum(familyNames).default('llama'), {
    group: 'model',
    en: 'Family. Write on: llama, gpt2, neox, gemma, olmo2, mixtral, tcn. Fill masks: bert. Find replaced tokens: electra. Read a source, write a target: t5, transformer (2017), rnn, conv',
    zh: '模型家族。续写：llama、gpt2、neox、gemma、olmo2、mixtral、tcn；填空：bert；找出被替换的词元：electra；读源写目标：t5、transformer（2017）、rnn、conv',
  }),
  objective: key(z.enum(objectives).nullable().default(null), {
    group: 'model',
    en: 'What is asked: causal (the next token), masked (hidden tokens), nextSentence (those, and whether one half follows the other), replaced (which tokens a small generator changed), spans (cut-out spans), pairs (a target for each source), dialogues (the answers in dialogues), prefix (the same, the source being seen from both sides), contrastive (which target belongs to which source)',
    zh: '训练目标：causal（下一个词元）、masked（被遮住的词元）、nextSentence（另判断后半是否接着前半）、replaced（哪些词元被小生成器替换）、spans（被挖去的片段）、pairs（由源写出目标）、dialogues（对话中的回答）、prefix（同上，但源可双向看）、contrastive（哪个目标属于哪个源）',
    auto: {
      en: 'by family and data: dialogues where rows are such, pairs where the data has them and the family writes targets, else causal, masked, replaced or spans',
      zh: '由家族和数据决定：数据为对话时为 dialogues，成对且家族写目标时为 pairs，否则为 causal、masked、replaced 或 spans',
    },
  }),
  from: key(z.string().min(1).nullable().default(null), {
    group: 'model',
    en: 'Folder of a published model, checkpoint or run whose weights, shape and tokenizer this run begins with (fine-tuning)',
    zh: '已发表的模型、检查点或运行的文件夹：从它的权重、形状和词表开始（微调）',
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
    en: 'Key and value heads (grouped-query attention); divides nHead; llama, gemma, olmo2, mixtral',
    zh: '键值头数（分组查询注意力）；须整除 nHead；llama、gemma、olmo2、mixtral',
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
      en: '4·dModel; llama, gemma, olmo2, mixtral: 8/3·dModel, rounded up to 32',
      zh: '4·dModel；llama、gemma、olmo2、mixtral：8/3·dModel，向上取 32 的倍数',
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
    en: 'Output head shares its weights with the token embedding; a choice in llama, neox, olmo2, mixtral, t5',
    zh: '输出头与词嵌入共用权重；llama、neox、olmo2、mixtral、t5 可选，其余总是如此',
  }),
  qkNorm: key(z.boolean().default(false), {
    group: 'model',
    en: 'RMSNorm on queries and keys before RoPE; llama, gemma, mixtral',
    zh: 'RoPE 之前对查询和键做 RMSNorm；llama、gemma、mixtral',
  }),
  ropeBase: key(positive.default(10000), {
    group: 'model',
    en: 'Base of the rotary angles; llama, neox, gemma, olmo2, mixtral (Su et al. 2021)',
    zh: '旋转角的底数；llama、neox、gemma、olmo2、mixtral（Su 等 2021）',
  }),
  nExpert: key(whole(2, 1024).default(8), {
    group: 'model',
    en: 'Experts of each layer; mixtral only',
    zh: '每层的专家数；仅 mixtral',
  }),
  nExpertPerToken: key(whole(1, 1024).default(2), {
    group: 'model',
    en: 'Experts that a token goes to; mixtral only',
    zh: '每个词元去往的专家数；仅 mixtral',
  }),
  preNorm: key(z.boolean().default(false), {
    group: 'model',
    en: 'Norm before each branch, which trains without warm-up, instead of after each sum as in 2017; transformer only',
    zh: '每个分支之前归一化（无需预热也能训练），而非 2017 年的求和之后；仅 transformer',
  }),
  labelSmoothing: key(belowOne.default(0), {
    group: 'model',
    en: 'Share of the target probability spread over all tokens while training, 0.1 in 2017; transformer only',
    zh: '训练时分给其余词元的目标概率，2017 年为 0.1；仅 transformer',
    unit: 'fraction',
  }),
  cell: key(z.enum(['rnn', 'gru', 'lstm']).default('lstm'), {
    group: 'model',
    en: 'Recurrent cell; rnn only',
    zh: '循环单元；仅 rnn',
  }),
  attention: key(z.enum(['none', 'additive', 'general']).default('additive'), {
    group: 'model',
    en: 'How the decoder looks at the source: not at all, Bahdanau (additive) or Luong (general); rnn only',
    zh: '解码器如何看源句：不看、Bahdanau（additive）或 Luong（general）；仅 rnn',
  }),
  width: key(whole(1, 31).default(3), {
    group: 'model',
    en: 'Tokens that one convolution sees, an odd number in conv; conv, tcn',
    zh: '一次卷积看到的词元数，conv 须为奇数；conv、tcn',
    unit: 'tokens',
  }),

  tokenizer: key(z.string().min(1).default('bpe'), {
    group: 'tokenizer',
    en: 'char, byte; bpe, wordpiece or unigram (trained on the data); or the path of a tokenizer.json',
    zh: 'char（字符）、byte（字节）；bpe、wordpiece、unigram（在数据上训练）；或 tokenizer.json 的路径',
  }),
  vocabSize: key(whole(257, 1_000_000).default(2048), {
    group: 'tokenizer',
    en: 'Entries of a trained vocabulary, the 256 bytes of bpe and special tokens included; char and byte find their own',
    zh: '训练所得词表的条目数，含 bpe 的 256 个字节和特殊词元；char 和 byte 自行确定',
    unit: 'entries',
  }),
  pattern: key(z.enum(['gpt2', 'llama3', 'qwen2', 'cjk']).default('gpt2'), {
    group: 'tokenizer',
    en: 'Where bpe may not merge across: published split patterns, or cjk for Chinese text',
    zh: 'bpe 不可跨越的切分模式：已发表的模式，或适合中文的 cjk',
  }),

  data: key(z.string().min(1).nullable().default(null), {
    group: 'data',
    en: 'Text file, JSONL file, folder, or what `qkv data pack` wrote; in a file relative to that file, on the command line to the current folder',
    zh: '文本文件、JSONL 文件、文件夹，或 `qkv data pack` 的产物；写在文件里时相对该文件，写在命令行时相对当前文件夹',
  }),
  'data.field': key(z.string().min(1).default('text'), {
    group: 'data',
    en: 'Field of a JSONL row that holds the text',
    zh: 'JSONL 每行中存放文本的字段',
  }),
  'data.source': key(z.string().min(1).nullable().default(null), {
    group: 'data',
    en: 'Column or field of a pair that is read (a.b looks inside); text files: before the first tab of a line',
    zh: '成对数据中作为源的列或字段（a.b 取内层）；文本文件：每行第一个制表符之前',
    auto: { en: 'source, src, input, en or text', zh: 'source、src、input、en 或 text' },
  }),
  'data.target': key(z.string().min(1).nullable().default(null), {
    group: 'data',
    en: 'Column or field of a pair that is to be written; text files: behind the first tab',
    zh: '成对数据中要写出的列或字段；文本文件：第一个制表符之后',
    auto: { en: 'target, tgt, output, zh or summary', zh: 'target、tgt、output、zh 或 summary' },
  }),
  'data.targetFile': key(z.string().min(1).nullable().default(null), {
    group: 'data',
    en: 'Text file whose line i is the target of line i of data',
    zh: '文本文件，其第 i 行是 data 第 i 行的目标',
  }),
  'data.documents': key(z.enum(['file', 'blank-line', 'line']).default('file'), {
    group: 'data',
    en: 'What one document is in a text file',
    zh: '文本文件中什么算一篇文档',
  }),
  'data.encoding': key(z.enum(['utf-8', 'auto', 'gbk', 'big5', 'latin1', 'utf-16le', 'utf-16be']).default('utf-8'), {
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
  documentMask: key(z.boolean().default(false), {
    group: 'data',
    en: 'Tokens of packed text see their own document only; learned positions begin again with each (causal)',
    zh: '拼接的文本中，词元只看自己的文档；可学习位置随每篇文档重新开始（causal）',
  }),
  maskRate: key(z.number().gt(0).lt(1).default(0.15), {
    group: 'data',
    en: 'Share of the tokens that is asked; masked, nextSentence, replaced and spans',
    zh: '被问到的词元比例；masked、nextSentence、replaced 与 spans',
    unit: 'fraction',
  }),
  meanSpan: key(z.number().min(1).max(100).default(3), {
    group: 'data',
    en: 'Mean length of a cut-out span; spans only',
    zh: '挖去片段的平均长度；仅 spans',
    unit: 'tokens',
  }),
  wholeWords: key(z.boolean().default(false), {
    group: 'data',
    en: 'Masked words are hidden whole; Chinese words by the segmenter of the system; masked, nextSentence, replaced',
    zh: '整词遮盖；中文词由系统分词器给出；masked、nextSentence、replaced',
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
