/** Messages about families, objectives, pairs, and models that a run begins with. Part of the table in index.ts. */
import type { FamilyKind } from '../../settings/families.ts';
import type { Place } from '../../settings/config.ts';
import { cmd, type Entry, here, opt, placeEn, placeZh, shellWord, text } from './parts.ts';

/** The values that each code is made of. */
export interface TrainingValues {
  E111: { key: string; model: string; value: unknown; families?: string[]; at?: Place };
  E112: { objective: string; model: string; possible: string[]; families: string[]; at?: Place };
  E113: { verb: string; name: string; model: string; kind: FamilyKind };
  E114: { path: string; reason: 'none' | 'tokenizer' };
  E116: { key: string; asked: unknown; value: unknown; from: string; at?: Place };
  E117: { path: string };
  E144: { path: string; model?: string };
  E145: { pairs: number; fit: number; contextLength: number; longest: number };
  /** `run`: one that learned from text. */
  E147: { tokens: string[]; run?: string };
  E165: { tokens: string[] };
  E166: { name: string; model: string; mask: string };
}

const kindsEn: Record<FamilyKind, string> = {
  decoder: 'it writes on',
  encoder: 'it reads, and does not write',
  'encoder-decoder': 'it reads a source and writes a target',
};
const kindsZh: Record<FamilyKind, string> = { decoder: '它续写', encoder: '它只读不写', 'encoder-decoder': '它读源写目标' };

export const trainingMessages: { [C in keyof TrainingValues]: Entry<TrainingValues[C]> } = {
  E111: {
    exit: 2,
    en: (v) =>
      text(
        `${v.key} does not apply to model=${v.model}`,
        placeEn(v.at),
        `${v.value === undefined ? 'That family has no such choice' : `There it is always ${v.value}`}. Leave ${v.key} out, or take ${opt(`model=${v.families?.[0] ?? 'llama'}`)}`,
      ),
    zh: (v) =>
      text(
        `${v.key} 不适用于 model=${v.model}`,
        placeZh(v.at),
        `${v.value === undefined ? '该家族没有这一选择' : `该结构里它总是 ${v.value}`}。去掉 ${v.key}，或用 ${opt(`model=${v.families?.[0] ?? 'llama'}`)}`,
      ),
  },
  E112: {
    exit: 2,
    en: (v) =>
      text(
        `model=${v.model} cannot be trained for objective=${v.objective}`,
        placeEn(v.at),
        `It can for ${v.possible.map((o) => opt(`objective=${o}`)).join(' or ')}; ${v.objective} goes with ${v.families.map((m) => opt(`model=${m}`)).join(', ')}`,
      ),
    zh: (v) =>
      text(
        `model=${v.model} 不能按 objective=${v.objective} 训练`,
        placeZh(v.at),
        `它可用 ${v.possible.map((o) => opt(`objective=${o}`)).join('、')}；${v.objective} 适用于 ${v.families.map((m) => opt(`model=${m}`)).join('、')}`,
      ),
  },
  E113: {
    exit: 2,
    en: (v) =>
      text(
        `qkv ${v.verb} needs a model that writes on`,
        `${v.name} is of the family ${v.model}: ${kindsEn[v.kind]}. Use it by ${cmd(`qkv generate ${shellWord(v.name)} ${v.kind === 'encoder' ? '"… [MASK] …"' : '"…"'}`)}`,
      ),
    zh: (v) =>
      text(
        `qkv ${v.verb} 需要会续写的模型`,
        `${v.name} 属于 ${v.model} 家族：${kindsZh[v.kind]}。这样用它：${cmd(`qkv generate ${shellWord(v.name)} ${v.kind === 'encoder' ? '"… [MASK] …"' : '"…"'}`)}`,
      ),
  },
  E114: {
    exit: 3,
    en: (v) =>
      v.reason === 'tokenizer'
        ? text(
            'the model to begin with has no tokenizer.json',
            { where: here(v.path) },
            `Name one that fits it: ${opt('tokenizer=tokenizer.json')}`,
          )
        : text(
            'there is no model to begin with',
            { where: here(v.path) },
            `from= names a folder with config.json and model.safetensors, or a run. Runs: ${cmd('qkv runs')}`,
          ),
    zh: (v) =>
      v.reason === 'tokenizer'
        ? text('起始模型没有 tokenizer.json', { where: here(v.path) }, `指定与它相配的词表：${opt('tokenizer=tokenizer.json')}`)
        : text(
            '没有可以作为起点的模型',
            { where: here(v.path) },
            `from= 指定含 config.json 与 model.safetensors 的文件夹，或一次运行。有哪些运行：${cmd('qkv runs')}`,
          ),
  },
  E116: {
    exit: 2,
    en: (v) =>
      text(
        `${v.key}=${String(v.asked)}, but the model of from= has ${String(v.value)}`,
        placeEn(v.at),
        `Its shape comes with its weights (${here(v.from)}). Leave ${v.key} out`,
      ),
    zh: (v) =>
      text(
        `${v.key}=${String(v.asked)}，但 from= 的模型是 ${String(v.value)}`,
        placeZh(v.at),
        `形状随权重而来（${here(v.from)}）。去掉 ${v.key}`,
      ),
  },
  E117: {
    exit: 2,
    en: (v) =>
      text(
        'packed data is read with the tokenizer that packed it',
        { where: here(v.path) },
        `Name it: ${opt('tokenizer=tokenizer.json')}`,
      ),
    zh: (v) => text('打包的数据要用打包时的词表来读', { where: here(v.path) }, `指定它：${opt('tokenizer=tokenizer.json')}`),
  },
  E144: {
    exit: 65,
    en: (v) =>
      text(
        v.model ? `model=${v.model} learns from pairs, and the data holds none` : 'the data holds no pairs',
        { where: here(v.path) },
        `A pair is two columns of JSONL, CSV or TSV (${opt('data.source=en')} ${opt('data.target=de')}), a line with a tab, or line i of two files (${opt('data.targetFile=train.de')})`,
        `Plain text goes with ${opt('model=llama')}, ${opt('model=bert')} or ${opt('model=t5')}`,
      ),
    zh: (v) =>
      text(
        v.model ? `model=${v.model} 从成对数据学习，而数据里没有` : '数据里没有成对的内容',
        { where: here(v.path) },
        `一对可以是 JSONL、CSV、TSV 的两列（${opt('data.source=en')} ${opt('data.target=de')}）、含制表符的一行，或两个文件的第 i 行（${opt('data.targetFile=train.de')}）`,
        `纯文本可用 ${opt('model=llama')}、${opt('model=bert')} 或 ${opt('model=t5')}`,
      ),
  },
  E145: {
    exit: 2,
    en: (v) =>
      text(
        `of ${v.pairs} pairs only ${v.fit} fit contextLength=${v.contextLength}`,
        `The longest needs ${v.longest} tokens. Raise it: ${opt(`contextLength=${v.longest}`)}, or give more data`,
      ),
    zh: (v) =>
      text(
        `${v.pairs} 对中只有 ${v.fit} 对放得进 contextLength=${v.contextLength}`,
        `最长的需要 ${v.longest} 个词元。调大：${opt(`contextLength=${v.longest}`)}，或增加数据`,
      ),
  },
  E147: {
    exit: 65,
    en: (v) =>
      v.run !== undefined
        ? text(
            `${v.run} was not trained on dialogues, so it does not answer`,
            `Let it write on: ${cmd(`qkv generate ${shellWord(v.run)} "…"`)}`,
          )
        : text(
            `no chat template: neither beside the tokenizer, nor has it ${v.tokens.join(' and ')}`,
            `Take the folder of a chat model, or let one be made from the dialogues: ${opt('tokenizer=bpe')}`,
          ),
    zh: (v) =>
      v.run !== undefined
        ? text(`${v.run} 不是用对话训练的，不会作答`, `让它接着写：${cmd(`qkv generate ${shellWord(v.run)} "…"`)}`)
        : text(
            `没有对话模板：词表旁边没有，词表里也没有 ${v.tokens.join(' 和 ')}`,
            `换成对话模型的文件夹，或从对话上训练一个：${opt('tokenizer=bpe')}`,
          ),
  },
  E165: {
    exit: 65,
    en: (v) =>
      text(
        `the tokenizer has no ${v.tokens.join(' or ')}, which this training needs`,
        `Take one that has it, or let one be made from the data: ${opt('tokenizer=bpe')} or ${opt('tokenizer=wordpiece')}`,
      ),
    zh: (v) =>
      text(
        `词表没有 ${v.tokens.join(' 或 ')}，而这种训练需要它`,
        `换一个有它的词表，或从数据上训练：${opt('tokenizer=bpe')} 或 ${opt('tokenizer=wordpiece')}`,
      ),
  },
  E166: {
    exit: 2,
    en: (v) =>
      text(
        `${v.name} fills masks, and the text has none`,
        `Write ${v.mask} where a token is to be guessed: ${cmd(`qkv generate ${shellWord(v.name)} "the ${v.mask} is blue"`)}`,
      ),
    zh: (v) =>
      text(
        `${v.name} 会填空，而文本里没有空`,
        `在要猜的地方写 ${v.mask}：${cmd(`qkv generate ${shellWord(v.name)} "天空是 ${v.mask} 的"`)}`,
      ),
  },
};
