/** Messages about verbs, settings and flags. Part of the table in index.ts. */
import type { Place } from '../../settings/config.ts';
import { cmd, opt, text, here, placeEn, placeZh, shellWord, type Entry, some } from './parts.ts';

/** The values that each code is made of. */
export interface SettingsValues {
  E100: { verb: string; nearest?: string };
  /** `text`: the verb also takes free text, which may look like a setting. */
  E101: { key: string; at?: Place; nearest?: string; keys: string[]; text?: boolean };
  E102: { rule: 'dModel' | 'even' | 'nKvHead'; dModel?: number; nHead: number; nKvHead?: number; tries: number[]; at?: Place };
  E103: { key: string; value: unknown; at?: Place; allowed: string; allowedZh: string };
  E104: { file: string; line: number; problem: 'expected' | 'duplicate' | 'value'; what: string };
  E105: { key: 'data' };
  E106: { at?: Place };
  E107: {
    flag: string;
    verb: string;
    problem: 'unknown' | 'needs-value' | 'no-value' | 'bad-value';
    nearest?: string;
    allowed?: string;
  };
  E108: { verb: string; word: string; usage: string };
  E109: { what: string };
  E110: { word: string; usage: string };
}

const sayValue = (value: unknown) => (typeof value === 'string' ? value : JSON.stringify(value));

export const settingsMessages: { [C in keyof SettingsValues]: Entry<SettingsValues[C]> } = {
  E100: {
    exit: 2,
    en: (v) =>
      text(
        `there is no verb "${v.verb}"`,
        v.nearest ? `Did you mean ${cmd(`qkv ${v.nearest}`)}?` : '',
        `All of them: ${cmd('qkv help')}`,
      ),
    zh: (v) =>
      text(`没有动词 “${v.verb}”`, v.nearest ? `你是不是想写 ${cmd(`qkv ${v.nearest}`)}？` : '', `全部动词：${cmd('qkv help')}`),
  },
  E101: {
    exit: 2,
    en: (v) =>
      text(
        `unknown setting "${v.key}"`,
        placeEn(v.at),
        `${v.nearest ? `Did you mean ${v.nearest}?  ` : ''}Settings: ${some(v.keys, ' ', 8)}${v.text ? '' : `  (${cmd('qkv config keys')})`}`,
        v.text && 'Is it a text? After -- every word is text',
      ),
    zh: (v) =>
      text(
        `未知配置项 “${v.key}”`,
        placeZh(v.at),
        `${v.nearest ? `你是不是想写 ${v.nearest}？  ` : ''}可用项：${some(v.keys, ' ', 8)}${v.text ? '' : `  （${cmd('qkv config keys')}）`}`,
        v.text && '这是文本吗？-- 之后的词都当作文本',
      ),
  },
  E102: {
    exit: 2,
    en: (v) =>
      v.rule === 'nKvHead'
        ? text(
            `nHead=${v.nHead} is not divisible by nKvHead=${v.nKvHead}`,
            placeEn(v.at),
            `Each key-value head serves nHead / nKvHead query heads. Try nKvHead ${some(v.tries.map(String), ', ')}`,
          )
        : v.rule === 'even'
          ? text(
              `headDim=${v.dModel! / v.nHead} is odd`,
              placeEn(v.at),
              `RoPE turns pairs of channels, so headDim = dModel / nHead must be even. Try dModel ${v.tries.join(' or ')}`,
            )
          : text(
              `dModel=${v.dModel} is not divisible by nHead=${v.nHead}`,
              placeEn(v.at),
              `The width of a head, headDim = dModel / nHead, must be a whole number. Try ${v.tries.join(' or ')}`,
            ),
    zh: (v) =>
      v.rule === 'nKvHead'
        ? text(
            `nHead=${v.nHead} 不能被 nKvHead=${v.nKvHead} 整除`,
            placeZh(v.at),
            `每个键值头供 nHead / nKvHead 个查询头使用。nKvHead 可用：${some(v.tries.map(String), '、')}`,
          )
        : v.rule === 'even'
          ? text(
              `headDim=${v.dModel! / v.nHead} 是奇数`,
              placeZh(v.at),
              `RoPE 旋转成对的通道，headDim = dModel / nHead 必须是偶数。dModel 可用：${v.tries.join('、')}`,
            )
          : text(
              `dModel=${v.dModel} 不能被 nHead=${v.nHead} 整除`,
              placeZh(v.at),
              `每个头的宽度 headDim = dModel / nHead 必须是整数。可用：${v.tries.join('、')}`,
            ),
  },
  E103: {
    exit: 2,
    en: (v) => text(`${v.key}=${sayValue(v.value)} is not possible`, placeEn(v.at), `Allowed: ${v.allowed}`),
    zh: (v) => text(`${v.key}=${sayValue(v.value)} 不可用`, placeZh(v.at), `允许：${v.allowedZh}`),
  },
  E104: {
    exit: 2,
    en: (v) =>
      text(
        v.problem === 'duplicate'
          ? `setting "${v.what}" stands twice`
          : v.problem === 'expected'
            ? v.what === '{'
              ? 'this is no settings file'
              : `the settings file breaks off: expected ${v.what}`
            : `this is no value: ${v.what}`,
        { where: `${here(v.file)}:${v.line}` },
        v.what === '{'
          ? `Is it a text? ${opt(`data=${shellWord(here(v.file))}`)}`
          : 'One flat object: { "nLayer": 4, "data": "book.txt" }. Text stands in "…"; // comments are welcome',
      ),
    zh: (v) =>
      text(
        v.problem === 'duplicate'
          ? `配置项 “${v.what}” 出现了两次`
          : v.problem === 'expected'
            ? v.what === '{'
              ? '这不是配置文件'
              : `配置文件不完整：此处应为 ${v.what}`
            : `这不是值：${v.what}`,
        { where: `${here(v.file)}:${v.line}` },
        v.what === '{'
          ? `如果它是语料：${opt(`data=${shellWord(here(v.file))}`)}`
          : '写成一个平的对象：{ "nLayer": 4, "data": "book.txt" }。文本放在 "…" 里；可以写 // 注释',
      ),
  },
  E105: {
    exit: 2,
    en: () =>
      text(
        'no data to train on',
        `Name a text file, a JSONL file or a folder: ${cmd('qkv train data=book.txt')}`,
        `Or begin with a folder that has some: ${cmd('qkv new demo')}`,
      ),
    zh: () =>
      text(
        '没有训练数据',
        `指定文本文件、JSONL 文件或文件夹：${cmd('qkv train data=book.txt')}`,
        `或新建一个自带数据的文件夹：${cmd('qkv new demo')}`,
      ),
  },
  E106: {
    exit: 2,
    en: (v) => text('size and depth both set the shape of the model', placeEn(v.at), 'Give one of them'),
    zh: (v) => text('size 和 depth 都决定模型形状', placeZh(v.at), '只用其中一个'),
  },
  E107: {
    exit: 2,
    en: (v) =>
      v.problem === 'needs-value'
        ? text(`--${v.flag} needs a value`, v.allowed ? `Allowed: ${v.allowed}` : '', cmd(`qkv help ${v.verb}`))
        : v.problem === 'no-value'
          ? text(`--${v.flag} takes no value`, cmd(`qkv help ${v.verb}`))
          : v.problem === 'bad-value'
            ? text(`--${v.flag} does not know this value`, v.allowed ? `Allowed: ${v.allowed}` : '', cmd(`qkv help ${v.verb}`))
            : text(
                `unknown flag --${v.flag}`,
                `${v.nearest ? `Did you mean --${v.nearest}?  ` : ''}Settings are written key=value, flags --flag  (${cmd(`qkv help ${v.verb}`)})`,
              ),
    zh: (v) =>
      v.problem === 'needs-value'
        ? text(`--${v.flag} 需要一个值`, v.allowed ? `允许：${v.allowed}` : '', cmd(`qkv help ${v.verb}`))
        : v.problem === 'no-value'
          ? text(`--${v.flag} 不带值`, cmd(`qkv help ${v.verb}`))
          : v.problem === 'bad-value'
            ? text(`--${v.flag} 没有这个取值`, v.allowed ? `允许：${v.allowed}` : '', cmd(`qkv help ${v.verb}`))
            : text(
                `未知选项 --${v.flag}`,
                `${v.nearest ? `你是不是想写 --${v.nearest}？  ` : ''}配置写成 key=value，选项写成 --flag  （${cmd(`qkv help ${v.verb}`)}）`,
              ),
  },
  E108: {
    exit: 2,
    en: (v) => text(`qkv ${v.verb}: ${v.word} is missing`, `Usage: ${v.usage}`, cmd(`qkv help ${v.verb}`)),
    zh: (v) => text(`qkv ${v.verb}：缺少 ${v.word}`, `用法：${v.usage}`, cmd(`qkv help ${v.verb}`)),
  },
  E109: {
    exit: 2,
    en: (v) => text(`${v.what} needs a yes, and there is no terminal to ask`, `Say it on the command line: ${opt('--yes')}`),
    zh: (v) => text(`${v.what}：需要确认，但没有终端可以询问`, `在命令行里确认：${opt('--yes')}`),
  },
  E110: {
    exit: 2,
    en: (v) =>
      text(
        `one word too many: ${v.word}`,
        `Usage: ${v.usage}`,
        'A text with spaces stands in quotes; after -- every word is text',
      ),
    zh: (v) => text(`多了一个词：${v.word}`, `用法：${v.usage}`, '带空格的文本要加引号；-- 之后的词都当作文本'),
  },
};
