// How the weights move, and what a run leaves behind.
import { z } from 'zod';
import { belowOne, key, positive, whole } from './setting.ts';

export const trainingSettings = {
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
  lr: key(positive.default(1e-3), {
    group: 'training',
    en: 'Peak learning rate; with from= and without lr, 5e-5·√(768/dModel)',
    zh: '学习率峰值；有 from= 而未写 lr 时为 5e-5·√(768/dModel)',
  }),
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
};
