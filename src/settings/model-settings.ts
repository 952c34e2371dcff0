// What the model is, and what it is asked.
import { z } from 'zod';
import { familyNames, objectives } from './families.ts';
import { belowOne, key, positive, whole } from './setting.ts';

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

export const modelSettings = {
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
};
