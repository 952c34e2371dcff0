// One source for docs/attention-by-numbers.md and its Chinese twin: each step is a formula, the line of the library that computes it, and the
// numbers that come out.   npm run pages   writes them; attention-by-numbers.test.ts fails when formula, code and page drift apart.

import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { attention, attentionWeights, causalMask, SelfAttention } from '../../src/attention/index.ts';
import { Rng, scope, Tensor } from '../../src/tensor/index.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const [LAYER, CORE] = ['src/attention/multi-head.ts', 'src/attention/scaled-dot-product.ts'];
type Lang = 'en' | 'zh';
type Text = Record<Lang, string>;

/** What each letter of a formula is called in the code, and what it is. A name belongs to one letter. */
export const letters: Record<string, { names: string[]; is: Text }> = {
  X: { names: ['x'], is: { en: 'the tokens, a row each', zh: '词元，每行一个' } },
  W_Q: { names: ['qProj'], is: { en: 'makes queries', zh: '生成查询的矩阵' } },
  W_K: { names: ['kProj'], is: { en: 'makes keys', zh: '生成键的矩阵' } },
  W_V: { names: ['vProj'], is: { en: 'makes values', zh: '生成值的矩阵' } },
  W_O: { names: ['outProj'], is: { en: 'mixes what the heads say', zh: '混合各头输出的矩阵' } },
  Q: { names: ['q'], is: { en: 'queries: what each token looks for', zh: '查询：每个词元要找什么' } },
  K: { names: ['k', 'keys'], is: { en: 'keys: what each token can be found by', zh: '键：每个词元凭什么被找到' } },
  V: { names: ['v'], is: { en: 'values: what each token gives', zh: '值：每个词元给出什么' } },
  d: { names: ['D'], is: { en: 'channels of a head', zh: '每个头的通道数' } },
  E: { names: ['scores'], is: { en: 'scores', zh: '分数' } },
  M: {
    names: ['bandMask'],
    is: { en: 'the mask: 0 where a query may look, −∞ where not', zh: '掩码：可以看处为 0，不可看处为 −∞' },
  },
  A: { names: ['weights', 'attentionWeights', 'kept'], is: { en: 'weights', zh: '权重' } },
  Y: { names: ['y'], is: { en: 'what each head says', zh: '每个头的输出' } },
  softmax: { names: ['softmax'], is: { en: 'positive, and each row sums to one', zh: '各项为正，每行之和为 1' } },
  heads: { names: ['{ H }', '{ G }'], is: { en: 'cuts the channels into heads', zh: '把通道切成多个头' } },
  concat: { names: ['-> B T (H D)'], is: { en: 'puts the heads side by side again', zh: '把各头重新并排' } },
};

export interface Step {
  title: Text;
  /** KaTeX. */
  formula: string;
  code: { file: string; line: string }[];
  text: Text;
  /** What the left side of the formula comes to. */
  value: number[][][];
}

/** Three tokens of four channels, two heads of two: small enough to check by hand. */
export function steps(): Step[] {
  using _ = scope('page');
  const [T, C, H] = [3, 4, 2];
  const layer = new SelfAttention({ dModel: C, nHead: H, std: 0, residualStd: 0, rng: new Rng(1) });
  layer.qProj.weight.write([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 1, 0, 0, 1]);
  layer.kProj.weight.write([0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0]);
  layer.vProj.weight.write([2, 0, 0, 0, 0, 0, 1, 0, 0, 3, 0, 0, 0, 0, 0, 1]);
  layer.outProj.weight.write([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 1, 1, 0, 0, -1]);
  const x = Tensor.from([1, 0, 2, 0, 0, 1, 0, 1, 1, 1, 0, 2], [1, T, C]);
  const split = (y: Tensor): Tensor => y.rearrange('B T (H D) -> B H T D', { H });
  const [q, k, v] = [layer.qProj, layer.kProj, layer.vProj].map((proj) => split(proj.forward(x)));
  const scores = q.matmul(k.T).mul(1 / Math.sqrt(C / H));
  const masked = scores.add(causalMask(T));
  const weights = attentionWeights(q, k, { causal: true });
  const y = attention(q, k, v, { causal: true });
  const out = layer.forward(x);

  const show = (t: Tensor): number[][][] => {
    const [h, rows, width] = t.shape.length === 4 ? t.shape.slice(1) : [1, ...t.shape.slice(1)];
    const flat = [...t.readSync()];
    const row = (i: number): number[] => flat.slice(i * width, (i + 1) * width);
    return Array.from({ length: h }, (_h, a) => Array.from({ length: rows }, (_r, r) => row(a * rows + r)));
  };
  const line = (file: string, text: string) => ({ file, line: text });
  return [
    {
      title: { en: 'Queries', zh: '查询' },
      formula: String.raw`Q = \operatorname{heads}(X W_Q)`,
      code: [line(LAYER, "let q = this.qProj.forward(x).rearrange('B T (H D) -> B H T D', { H });")],
      text: { en: 'Each token asks a question, one a head.', zh: '每个词元在每个头里提出一个问题。' },
      value: show(q),
    },
    {
      title: { en: 'Keys', zh: '键' },
      formula: String.raw`K = \operatorname{heads}(X W_K)`,
      code: [line(LAYER, "let k = this.kProj.forward(x).rearrange('B T (G D) -> B G T D', { G });")],
      text: { en: 'Each token says by what it can be found.', zh: '每个词元说明凭什么能找到自己。' },
      value: show(k),
    },
    {
      title: { en: 'Values', zh: '值' },
      formula: String.raw`V = \operatorname{heads}(X W_V)`,
      code: [line(LAYER, "let v = this.vProj.forward(x).rearrange('B T (G D) -> B G T D', { G });")],
      text: { en: 'Each token says what it gives to those that look at it.', zh: '每个词元说明给看向它的词元什么内容。' },
      value: show(v),
    },
    {
      title: { en: 'Scores', zh: '分数' },
      formula: String.raw`E = \frac{Q K^\top}{\sqrt{d}}`,
      code: [
        line(
          CORE,
          'let scores = score ? score.forward(q, keys).mul(scale ?? 1) : q.matmul(keys.T).mul(scale ?? 1 / Math.sqrt(D)); // (B, H, T, S)',
        ),
      ],
      text: {
        en: 'How well does key s answer query t? The dot product of d channels has variance d; divided by √d it has 1, and softmax keeps a slope.',
        zh: '键 s 在多大程度上回答了查询 t？d 个通道的点积方差为 d，除以 √d 之后为 1，softmax 才保有坡度。',
      },
      value: show(scores),
    },
    {
      title: { en: 'Mask', zh: '掩码' },
      formula: String.raw`E \leftarrow E + M`,
      code: [
        line(CORE, 'if (causal || window !== undefined) scores = scores.add(bandMask(T, S, window, causal ? 0 : undefined));'),
      ],
      text: {
        en: 'A decoder must not see what it shall predict: keys after the query get −∞.',
        zh: '解码器不得看到要预测的内容：查询之后的键记为 −∞。',
      },
      value: show(masked),
    },
    {
      title: { en: 'Weights', zh: '权重' },
      formula: String.raw`A(Q, K) = \operatorname{softmax}(E)`,
      code: [
        line(CORE, 'return scores.softmax();'),
        line(CORE, 'const weights = attentionWeights(q, k, options); // (B, H, T, S)'),
      ],
      text: {
        en: 'Each row is a division of attention: positive numbers that sum to one. e^−∞ is 0.',
        zh: '每一行是一次注意力的分配：各项为正，和为 1。e 的 −∞ 次方是 0。',
      },
      value: show(weights),
    },
    {
      title: { en: 'What each head says', zh: '每个头的输出' },
      formula: 'Y = A V',
      code: [line(CORE, 'return kept.matmul(repeatHeads(v, H)); // (B, H, T, E)')],
      text: { en: 'A mean of the values, weighted.', zh: '值的加权平均。' },
      value: show(y),
    },
    {
      title: { en: 'The layer’s output', zh: '本层的输出' },
      formula: String.raw`\operatorname{concat}(Y)\, W_O`,
      code: [
        line(LAYER, "let heads = y.rearrange('B H T D -> B T (H D)');"),
        line(LAYER, 'return dropout(this.outProj.forward(heads), p, ctx);'),
      ],
      text: {
        en: 'Side by side again, and mixed. This is what `SelfAttention` gives, tile by tile, without ever holding the weights.',
        zh: '重新并排，再混合。`SelfAttention` 给出的就是它，而且是分块算的，从不保存整张权重表。',
      },
      value: show(out),
    },
  ];
}

/** The letters of a formula: W_Q, Q, \operatorname{softmax} … */
const lettersOf = (formula: string): Set<string> =>
  new Set(
    [...formula.replaceAll(/\\(?:frac|sqrt|top|leftarrow|,)/g, ' ').matchAll(/\\operatorname\{(\w+)\}|(W_[A-Z]|[A-Za-z])/g)].map(
      ([, operator, letter]) => operator ?? letter,
    ),
  );
const occurs = (name: string, code: string): boolean =>
  /\W/.test(name) ? code.includes(name) : new RegExp(`(?<![\\w.'])${name}(?![\\w'])|this\\.${name}\\b|\\.${name}\\(`).test(code);

/** What is wrong with a step: a letter without its name in the code, a name without its letter, a line that the library does not have. */
export function faults({ formula, code }: Pick<Step, 'formula' | 'code'>): string[] {
  const used = lettersOf(formula);
  const lines = code.map(({ line }) => line.split(' // ')[0]).join('\n');
  const outsideStrings = lines.replaceAll(/'[^']*'/g, "''");
  // Names of the step's left side may be missing on it: `return …` gives it no name.
  const left = /^\\?(\w+)/.exec(formula)?.[1];
  const found: string[] = [];
  for (const letter of used) {
    if (!letters[letter]) found.push(`${letter} has no name in the table`);
    else if (!letters[letter].names.some((name) => occurs(name, lines)) && !(letter === left && lines.includes('return ')))
      found.push(`${letter} (${letters[letter].names.join(', ')}) is not in the code`);
  }
  for (const [letter, { names }] of Object.entries(letters))
    for (const name of names)
      if (/^\w+$/.test(name) && occurs(name, outsideStrings) && !used.has(letter))
        found.push(`${name} is in the code, ${letter} not in the formula`);
  for (const { file, line } of code) if (!sourceOf(file).includes(line)) found.push(`${file} has no line: ${line}`);
  return found;
}
const sources = new Map<string, string[]>();
function sourceOf(file: string): string[] {
  const held =
    sources.get(file) ??
    readFileSync(root + file, 'utf8')
      .split('\n')
      .map((l) => l.trim());
  sources.set(file, held);
  return held;
}

const number = (x: number): string =>
  x === -Infinity
    ? '−∞'
    : (Math.round(x * 100) / 100 + 0)
        .toFixed(2)
        .replace(/\.?0+$/, '')
        .replace('-', '−');
const matrix = (rows: number[][]): string =>
  String.raw`\begin{bmatrix} ${rows.map((row) => row.map((x) => number(x).replace('−∞', '-\\infty').replace('−', '-')).join(' & ')).join(String.raw` \\ `)} \end{bmatrix}`;

/** The page in one language. */
export function page(lang: Lang): string {
  const all = steps();
  const say = (en: string, zh: string): string => (lang === 'en' ? en : zh);
  const head = say(
    `# Attention by numbers\n\n[中文](attention-by-numbers.zh.md) · Outline 4.1. Three tokens, two heads of two channels, causal. Each step: its formula, the line of the library that computes it, and what it comes\nto. Written by \`npm run pages\`; a test fails when a letter of a formula and a name in the code drift apart, or a number changes.`,
    `# 用数字看注意力\n\n[English](attention-by-numbers.md) · 大纲 4.1。三个词元，两个头，每头两个通道，因果掩码。每一步都有公式、库里计算它的那一行代码，以及得到的数。\n由 \`npm run pages\` 写出；公式里的字母与代码里的名字一旦不一致，或者数变了，测试就会失败。`,
  );
  const table = [
    say('| letter | in the code | what it is |', '| 字母 | 代码里的名字 | 含义 |'),
    '|---|---|---|',
    ...Object.entries(letters).map(([letter, { names, is }]) => {
      const tex = letter.length > 1 && !letter.includes('_') ? `\\operatorname{${letter}}` : letter;
      return `| $${tex}$ | ${names.map((n) => `\`${n}\``).join(', ')} | ${is[lang]} |`;
    }),
  ].join('\n');
  const parts = all.map(({ title, formula, code, text, value }, i) => {
    const lines = code.map(({ file, line }) => `[\`${file}\`](../${file})\n\n\`\`\`ts\n${line}\n\`\`\``).join('\n\n');
    const numbers = value
      .map((rows, h) => (value.length > 1 ? `\\text{${say('head', '头')} ${h + 1}} ` : '') + matrix(rows))
      .join(' \\quad ');
    return `## ${i + 1}. ${title[lang]}\n\n${text[lang]}\n\n$$${formula}$$\n\n${lines}\n\n$$${numbers}$$`;
  });
  return `${[head, table, ...parts].join('\n\n')}\n`;
}

export const pagePath = (lang: Lang): string => `${root}docs/attention-by-numbers${lang === 'zh' ? '.zh' : ''}.md`;
if (process.argv[2] === '--write') for (const lang of ['en', 'zh'] as const) writeFileSync(pagePath(lang), page(lang));
