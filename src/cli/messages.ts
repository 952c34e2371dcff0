/**
 * Every error and warning that a person can meet: one entry a code, with both languages, its exit code, and what to type next.
 *
 * Shape (cli.md §4): what happened → where → why → what to type. Commands are written through `cmd`, settings and flags through `opt`: they come out bold on a
 * terminal, and a test parses each of them with the real parser.
 */
import { clip, displayWidth } from '../figures/width.ts';
import type { Place } from '../settings/config.ts';
import { bytes, count, type Lang, short } from './format.ts';
import { cmd, here, opt, placeEn, placeZh, shellWord, type Text, text } from './message-parts.ts';
import { type TrainingValues, trainingMessages } from './messages-training.ts';

export { cmd, here, opt, shellWord, type Text } from './message-parts.ts';

export interface Entry<V> {
  /** Exit code; undefined for a warning. */
  exit?: number;
  en: (v: V) => Text;
  zh: (v: V) => Text;
}

/** The first few of many names. */
const some = (names: readonly string[], separator: string, most = 6) =>
  names.slice(0, most).join(separator) + (names.length > most ? `${separator === ' ' ? ' ' : separator}…` : '');

/** A table without a line of names has its first row's text for names. */
const looksLikeText = (fields: readonly string[]) => fields.some((f) => displayWidth(f) > 60);

const kindsEn: Record<string, string> = {
  bad_utf8: 'not UTF-8',
  too_long: 'too long',
  bad_json: 'not JSON',
  bad_csv: 'not CSV',
  bad_field: 'field is no text',
  truncated: 'cut off',
  empty: 'empty',
};
const kindsZh: Record<string, string> = {
  bad_utf8: '不是 UTF-8',
  too_long: '过长',
  bad_json: '不是 JSON',
  bad_csv: '不是 CSV',
  bad_field: '字段不是文本',
  truncated: '被截断',
  empty: '空行',
};
const tally = (kinds: Record<string, number>, names: Record<string, string>, lang: Lang) =>
  Object.entries(kinds)
    .filter(([, n]) => n > 0)
    .map(([k, n]) => `${count(n, lang)} ${names[k] ?? k}`)
    .join(lang === 'zh' ? '、' : ', ');

/** Why the system refused: our words (data/errors.ts) and its own codes. */
const reasonEn: Record<string, string> = {
  full: 'the disk is full',
  'read-only': 'it is read-only',
  permission: 'no permission',
  ENOSPC: 'the disk is full',
  EDQUOT: 'the disk is full',
  EROFS: 'it is read-only',
  EACCES: 'no permission',
  EPERM: 'no permission',
  ENOTDIR: 'a file is in the way',
};
const reasonZh: Record<string, string> = {
  full: '磁盘已满',
  'read-only': '只读',
  permission: '没有权限',
  ENOSPC: '磁盘已满',
  EDQUOT: '磁盘已满',
  EROFS: '只读',
  EACCES: '没有权限',
  EPERM: '没有权限',
  ENOTDIR: '被一个文件挡住',
};

/** The values that each code is made of. */
export interface Values extends TrainingValues {
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
  E120: { needed: number; available: number; largest: string; largestBytes: number; ways: { setting: string; bytes: number }[] };
  E121: { bytes: number; availableBytes: number; liveBytes: number; limitBytes: number };
  E122: { needed: number; free: number; checkpoints: number; folder: string };
  E130: { path: string };
  E131: { path: string; line: number; field: string; fields: string[] };
  E132: { path: string; line: number; byte: number; guess: string };
  E133: { path: string; looksLike: string };
  E134: { path: string; files: number; rows: number; rejected: Record<string, number> };
  E135: { split?: string; tokens: number; contextLength: number; largest: number };
  E136: {
    rejected: number;
    rows: number;
    limit: number;
    kinds: Record<string, number>;
    first?: { source: string; line: number; kind: string; reason: string };
    rejectsFile?: string;
  };
  E137: { path: string };
  E138: { path: string; reason: string };
  E139: { path: string; operation: 'read' | 'write'; reason: string };
  E140: {
    step: number;
    what: 'loss' | 'gradNorm';
    /** `NaN`, `Infinity`: JSON has no such numbers. */
    value: string;
    where?: string;
    previousStep?: number;
    previousLoss?: number;
    /** Added by the verb: the run's name, its newest good checkpoint, the learning rate. */
    run?: string;
    lastGood?: string;
    lr?: number;
  };
  E141: { path: string; line: number; wanted: string[]; columns: string[]; setting?: string };
  E142: { path: string; problem: string; rules: string[] };
  E143: { path: string; other: string; lines: number; otherLines: number };
  E146: { path: string; splits: string[] };
  E150: { name: string; runs: string[]; nearest?: string; folder: string };
  E151: { name: string; step?: number; free: string };
  E152: { name: string };
  E153: { path: string };
  E154: { template: string; templates: string[]; nearest?: string };
  E155: { name: string; step: string | number; steps: number[] };
  E156: { name: string; pid?: number; host?: string };
  E157: { name: string };
  /** `setting`: the output is named by it, not by --out. `reason`: why what is there is not what was asked for. */
  E158: { path: string; setting?: string; reason?: string };
  E159: { key: string; before: unknown; after: unknown; name: string };
  E160: { tokens: number; contextLength: number };
  E161: { verb: string };
  E162: { char: string; position: number; vocabSize: number };
  E163: { layer: number; head: number; nLayer: number; nHead: number };
  E164: { name: string; step: number; steps: number };
  /** `what`: what of the repository is not there. */
  E170: { repo: string; what: 'repo' | 'revision' | 'file'; name?: string; endpoint?: string; hasToken?: boolean };
  E171: { repo: string; endpoint: string; status: number; hasToken: boolean };
  E172: { endpoint: string; repo: string; reason: string };
  E173: { file: string; repo: string; expected: string | number; found: string };
  E174: { needed: number; free: number; folder: string };
  E175: { repo: string; files: readonly string[] };
  E176: { endpoint: string; detail: string };
  E177: { name: string };
  E178: { repo: string; pid?: number; host?: string };
  E180: { expected: number; found: number; path: string; sha?: string; right?: string };
  E181: { path: string; reason: string };
  E182: { path: string };
  E183: { path: string; reason: string };
  E184: { file: string; code: string; detail: string; hint: string };
  E185: { detail: string };
  E190: { detail: string };
  E191: { reason: string };
  W201: { reason: string };
  W202: { needed: number; available: number };
  W203: { loss: number; expected: number };
  W210: { times: number; from: number; to: number; bestStep: number };
  W220: { detail: string };
  W221: { message: string };
  W231: { duplicates: number; documents: number };
  W232: { documents: number };
  W233: { documents: number };
  W234: { documents: number };
  W235: { p90: number; contextLength: number };
  W236: { units: number };
}
export type Code = keyof Values;

export const messages: { [C in Code]: Entry<Values[C]> } = {
  ...trainingMessages,
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
            ? `the settings file breaks off: expected ${v.what}`
            : `this is no value: ${v.what}`,
        { where: `${here(v.file)}:${v.line}` },
        'One flat object: { "nLayer": 4, "data": "book.txt" }. Text stands in "…"; // comments are welcome',
      ),
    zh: (v) =>
      text(
        v.problem === 'duplicate'
          ? `配置项 “${v.what}” 出现了两次`
          : v.problem === 'expected'
            ? `配置文件不完整：此处应为 ${v.what}`
            : `这不是值：${v.what}`,
        { where: `${here(v.file)}:${v.line}` },
        '写成一个平的对象：{ "nLayer": 4, "data": "book.txt" }。文本放在 "…" 里；可以写 // 注释',
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
  E120: {
    exit: 4,
    en: (v) =>
      text(
        `does not fit: needs about ${bytes(v.needed)}, ${bytes(v.available)} available`,
        `Mostly ${partEn[v.largest] ?? v.largest}, ${bytes(v.largestBytes)}. ` +
          (v.ways.length
            ? `Any one of: ${v.ways.map((w) => `${opt(w.setting)} (${bytes(w.bytes)})`).join(' · ')}`
            : 'Take a smaller model: size=nano'),
        `Start regardless: ${opt('--anyway')}`,
      ),
    zh: (v) =>
      text(
        `装不下：预计 ${bytes(v.needed)}，可用 ${bytes(v.available)}`,
        `主要是${partZh[v.largest] ?? v.largest} ${bytes(v.largestBytes)}。` +
          (v.ways.length
            ? `任选其一：${v.ways.map((w) => `${opt(w.setting)}（${bytes(w.bytes)}）`).join(' · ')}`
            : '换更小的模型：size=nano'),
        `仍要开始：${opt('--anyway')}`,
      ),
  },
  E121: {
    exit: 4,
    en: (v) =>
      text(
        `out of memory: ${bytes(v.bytes)} asked for, ${bytes(v.availableBytes)} available`,
        `${bytes(v.liveBytes)} in use, limit ${bytes(v.limitBytes)}. What a run needs: ${cmd('qkv estimate')}. Smaller: ${opt('batch=4')} or ${opt('contextLength=64')}`,
      ),
    zh: (v) =>
      text(
        `内存不足：需要 ${bytes(v.bytes)}，可用 ${bytes(v.availableBytes)}`,
        `已用 ${bytes(v.liveBytes)}，上限 ${bytes(v.limitBytes)}。一次训练要多少：${cmd('qkv estimate')}。改小：${opt('batch=4')} 或 ${opt('contextLength=64')}`,
      ),
  },
  E122: {
    exit: 4,
    en: (v) =>
      text(
        `the disk is too small: ${bytes(v.needed)} for ${v.checkpoints} checkpoints, ${bytes(v.free)} free`,
        { where: here(v.folder) },
        `Keep fewer: ${opt('keep=1')}, or free some space. Start regardless: ${opt('--anyway')}`,
      ),
    zh: (v) =>
      text(
        `磁盘不够：${v.checkpoints} 个检查点要 ${bytes(v.needed)}，剩余 ${bytes(v.free)}`,
        { where: here(v.folder) },
        `少留几个：${opt('keep=1')}，或腾出空间。仍要开始：${opt('--anyway')}`,
      ),
  },
  E130: {
    exit: 3,
    en: (v) => text(`there is no data at ${here(v.path)}`, `Check the path: ${opt('data=FILE-or-FOLDER')}`),
    zh: (v) => text(`${here(v.path)} 没有数据`, `检查路径：${opt('data=FILE-or-FOLDER')}`),
  },
  E131: {
    exit: 65,
    en: (v) =>
      text(
        `no text in the data: ${here(v.path)} line ${count(v.line, 'en')} has no field "${v.field}"` +
          (v.fields.length
            ? `, but ${some(
                v.fields.map((f) => `"${clip(f, 40)}"`),
                ', ',
              )}`
            : ''),
        looksLikeText(v.fields)
          ? 'The first line of a table names its columns; this one looks like text: put a line of names above it, such as text,label'
          : cmd(`qkv data inspect ${shellWord(here(v.path))}`) +
              (v.fields.length ? `   or   ${opt(`data.field=${v.fields[0]}`)}` : ''),
      ),
    zh: (v) =>
      text(
        `数据里没有文本：${here(v.path)} 第 ${count(v.line, 'zh')} 行没有字段 “${v.field}”` +
          (v.fields.length
            ? `，有 ${some(
                v.fields.map((f) => `“${clip(f, 40)}”`),
                '、',
              )}`
            : ''),
        looksLikeText(v.fields)
          ? '表格第一行应是列名，而这一行像正文：请在上面加一行列名，例如 text,label'
          : cmd(`qkv data inspect ${shellWord(here(v.path))}`) +
              (v.fields.length ? `   或   ${opt(`data.field=${v.fields[0]}`)}` : ''),
      ),
  },
  E132: {
    exit: 65,
    en: (v) =>
      text(
        `line ${count(v.line, 'en')} is not UTF-8${v.guess === 'unknown' ? ` (byte ${v.byte})` : ` (looks like ${v.guess.toUpperCase()})`}`,
        { where: here(v.path) },
        v.guess === 'unknown'
          ? `Mend the file, or pass over the bad bytes: ${opt('data.encodingErrors=replace')}`
          : `Say which encoding it is: ${opt(`data.encoding=${v.guess}`)}   (${cmd(`qkv data inspect ${shellWord(here(v.path))} data.encoding=${v.guess}`)}); ${opt('data.encoding=auto')} looks at each file`,
      ),
    zh: (v) =>
      text(
        `第 ${count(v.line, 'zh')} 行不是 UTF-8${v.guess === 'unknown' ? `（第 ${v.byte} 个字节）` : `（像 ${v.guess.toUpperCase()}）`}`,
        { where: here(v.path) },
        v.guess === 'unknown'
          ? `修好文件，或替换坏字节：${opt('data.encodingErrors=replace')}`
          : `指明编码：${opt(`data.encoding=${v.guess}`)}   （${cmd(`qkv data inspect ${shellWord(here(v.path))} data.encoding=${v.guess}`)}）；${opt('data.encoding=auto')} 逐个文件判断`,
      ),
  },
  E133: {
    exit: 65,
    en: (v) =>
      text(
        `this is not text: it looks like ${v.looksLike}`,
        { where: here(v.path) },
        'Text (.txt, .md), JSONL, CSV (plain, .gz or .zst), Parquet and Arrow can be read: unpack or convert it first',
      ),
    zh: (v) =>
      text(
        `这不是文本：像 ${looksZh(v.looksLike)}`,
        { where: here(v.path) },
        '可读的是文本（.txt、.md）、JSONL、CSV（可为 .gz、.zst）、Parquet 和 Arrow：请先解压或转换',
      ),
  },
  E134: {
    exit: 65,
    en: (v) =>
      text(
        v.files === 0
          ? 'no .txt, .md, .jsonl, .csv, .tsv, .parquet or .arrow file in this folder'
          : 'there is no text in the data',
        { where: here(v.path) },
        v.files === 0 ? '' : `${count(v.files, 'en')} file(s), ${count(v.rows, 'en')} rows${tallyOr(v.rejected, 'en')}`,
        cmd(`qkv data inspect ${shellWord(here(v.path))}`),
      ),
    zh: (v) =>
      text(
        v.files === 0 ? '文件夹里没有 .txt、.md、.jsonl、.csv、.tsv、.parquet 或 .arrow 文件' : '数据里没有文本',
        { where: here(v.path) },
        v.files === 0 ? '' : `${count(v.files, 'zh')} 个文件，${count(v.rows, 'zh')} 行${tallyOr(v.rejected, 'zh')}`,
        cmd(`qkv data inspect ${shellWord(here(v.path))}`),
      ),
  },
  E135: {
    exit: 2,
    en: (v) =>
      text(
        `the ${v.split?.startsWith('val') ? 'validation' : 'training'} data has ${count(v.tokens, 'en')} tokens; a context of ${count(v.contextLength, 'en')} needs ${count(v.contextLength + 1, 'en')}`,
        (v.largest > 0 ? `At most ${opt(`contextLength=${v.largest}`)}, or more text` : 'Add text') +
          (v.split?.startsWith('val') ? `, or ${opt('valFraction=0.2')}` : ''),
      ),
    zh: (v) =>
      text(
        `${v.split?.startsWith('val') ? '验证' : '训练'}数据只有 ${count(v.tokens, 'zh')} 个词元；上下文 ${count(v.contextLength, 'zh')} 需要 ${count(v.contextLength + 1, 'zh')} 个`,
        (v.largest > 0 ? `最多 ${opt(`contextLength=${v.largest}`)}，或增加文本` : '请增加文本') +
          (v.split?.startsWith('val') ? `，或 ${opt('valFraction=0.2')}` : ''),
      ),
  },
  E136: {
    exit: 65,
    en: (v) =>
      text(
        `${count(v.rejected, 'en')} of ${count(v.rows, 'en')} rows were refused; the limit is ${percent(v.limit)}`,
        tally(v.kinds, kindsEn, 'en'),
        v.first && `First: ${here(v.first.source)}:${v.first.line} ${v.first.reason}`,
        `${v.rejectsFile ? `All of them: ${here(v.rejectsFile)}. ` : ''}Mend the rows, or allow more: ${opt('data.maxRejected=0.05')}`,
      ),
    zh: (v) =>
      text(
        `${count(v.rows, 'zh')} 行中有 ${count(v.rejected, 'zh')} 行被拒；上限是 ${percent(v.limit)}`,
        tally(v.kinds, kindsZh, 'zh'),
        v.first && `第一处：${here(v.first.source)}:${v.first.line} ${kindsZh[v.first.kind] ?? v.first.reason}`,
        `${v.rejectsFile ? `全部见 ${here(v.rejectsFile)}。` : ''}修好这些行，或放宽：${opt('data.maxRejected=0.05')}`,
      ),
  },
  E137: {
    exit: 65,
    en: (v) => text('the data changed while it was in use', { where: here(v.path) }, 'Stop what writes to it, and run again'),
    zh: (v) => text('数据在使用中被改动', { where: here(v.path) }, '停止写入它的程序，再运行一次'),
  },
  E138: {
    exit: 65,
    en: (v) =>
      text(
        `prepared tokens cannot be trusted: ${v.reason}`,
        { where: here(v.path) },
        'Delete that folder; it is made again from the text',
      ),
    zh: (v) => text(`预处理的词元不可信：${v.reason}`, { where: here(v.path) }, '删除该文件夹即可；会从文本重新生成'),
  },
  E139: {
    exit: 4,
    en: (v) =>
      text(
        `cannot ${v.operation} ${here(v.path)}: ${reasonEn[v.reason] ?? v.reason}`,
        v.operation === 'write'
          ? 'Free space, change the mode of the folder, or work in another one'
          : 'Change the mode of the file, or take another one',
      ),
    zh: (v) =>
      text(
        `${v.operation === 'write' ? '写不了' : '读不了'} ${here(v.path)}：${reasonZh[v.reason] ?? v.reason}`,
        v.operation === 'write' ? '腾出空间、改文件夹权限，或换一个文件夹' : '改文件权限，或换一个文件',
      ),
  },
  E140: {
    exit: 70,
    en: (v) =>
      text(
        `step ${count(v.step, 'en')}: ${v.what === 'loss' ? 'loss' : 'the gradient norm'} became ${v.value}` +
          `${v.previousLoss === undefined ? '' : ` (the loss was ${v.previousLoss.toPrecision(3)} at step ${count(v.previousStep!, 'en')})`}, no update made`,
        { where: v.run && `runs/${v.run}` },
        v.where && `First non-finite: ${v.where}`,
        (v.lastGood ? `Last good: ${here(v.lastGood)}. ` : 'There is no checkpoint yet. ') + `Try: ${cmd(retry(v))}`,
      ),
    zh: (v) =>
      text(
        `第 ${count(v.step, 'zh')} 步：${v.what === 'loss' ? '损失' : '梯度范数'}变成 ${v.value}` +
          `${v.previousLoss === undefined ? '' : `（第 ${count(v.previousStep!, 'zh')} 步的损失还是 ${v.previousLoss.toPrecision(3)}）`}，本步没有更新`,
        { where: v.run && `runs/${v.run}` },
        v.where && `第一个非有限值：${v.where.replace(/^gradient of (.*)$/, '$1 的梯度')}`,
        (v.lastGood ? `最后完好：${here(v.lastGood)}。` : '还没有检查点。') + `可试：${cmd(retry(v))}`,
      ),
  },
  E141: {
    exit: 65,
    en: (v) =>
      text(
        `line ${count(v.line, 'en')} has no ${v.wanted.map((w) => `"${w}"`).join(' or ')}`,
        { where: here(v.path) },
        v.columns.length
          ? `The columns are ${v.columns.slice(0, 12).join(', ')}${v.columns.length > 12 ? ', …' : ''}`
          : 'The row has no columns',
        v.setting && `Name the column: ${v.setting}`,
      ),
    zh: (v) =>
      text(
        `第 ${count(v.line, 'zh')} 行没有 ${v.wanted.map((w) => `“${w}”`).join(' 或 ')}`,
        { where: here(v.path) },
        v.columns.length
          ? `现有的列：${v.columns.slice(0, 12).join('、')}${v.columns.length > 12 ? '、…' : ''}`
          : '该行没有任何列',
        v.setting && `指明列名：${v.setting}`,
      ),
  },
  E142: {
    exit: 2,
    en: (v) =>
      text(
        `this is no pipeline: ${v.problem}`,
        { where: here(v.path) },
        'A pipeline looks like { "rules": ["unicode", "controls", { "length": { "min": 20 } }] }',
        `Rules: ${v.rules.join(' ')}`,
      ),
    zh: (v) =>
      text(
        `这不是规则文件：${v.problem}`,
        { where: here(v.path) },
        '写成 { "rules": ["unicode", "controls", { "length": { "min": 20 } }] }',
        `规则：${v.rules.join(' ')}`,
      ),
  },
  E143: {
    exit: 65,
    en: (v) =>
      text(
        `the files are not aligned: ${here(v.path)} has ${count(v.lines, 'en')} lines, ${here(v.other)} has ${count(v.otherLines, 'en')}`,
        'Line i of one file belongs to line i of the other',
      ),
    zh: (v) =>
      text(
        `两个文件没有对齐：${here(v.path)} 有 ${count(v.lines, 'zh')} 行，${here(v.other)} 有 ${count(v.otherLines, 'zh')} 行`,
        '一个文件的第 i 行对应另一个文件的第 i 行',
      ),
  },
  E146: {
    exit: 65,
    en: (v) =>
      text(
        `${here(v.path)} holds several splits: ${v.splits.join(', ')}`,
        `Name one of them: ${here(v.path)}/${v.splits[0]}`,
        'Read together, what is held back for testing would be trained on',
      ),
    zh: (v) =>
      text(
        `${here(v.path)} 里有多个划分：${v.splits.join('、')}`,
        `请指定其中一个：${here(v.path)}/${v.splits[0]}`,
        '一起读取会把留作测试的数据也用来训练',
      ),
  },
  E150: {
    exit: 3,
    en: (v) =>
      text(
        `no run called "${v.name}".${v.runs.length ? ` Runs here: ${some(v.runs, ', ')}` : ` There are no runs in ${here(v.folder)}`}`,
        { where: v.nearest ? `did you mean ${v.nearest}?` : undefined },
        v.runs.length ? '' : `Make one: ${cmd('qkv train data=book.txt')}`,
      ),
    zh: (v) =>
      text(
        `没有名为 “${v.name}” 的运行。${v.runs.length ? `这里有：${some(v.runs, '、')}` : `${here(v.folder)} 里没有运行`}`,
        { where: v.nearest ? `是不是 ${v.nearest}？` : undefined },
        v.runs.length ? '' : `训练一个：${cmd('qkv train data=book.txt')}`,
      ),
  },
  E151: {
    exit: 2,
    en: (v) =>
      text(
        `a run called "${v.name}" exists${v.step === undefined ? '' : ` (at step ${count(v.step, 'en')})`}`,
        `Go on with it: ${cmd(`qkv train ${shellWord(v.name)} --resume`)}   or another name: ${opt(`name=${v.free}`)}`,
      ),
    zh: (v) =>
      text(
        `名为 “${v.name}” 的运行已存在${v.step === undefined ? '' : `（第 ${count(v.step, 'zh')} 步）`}`,
        `接着训练：${cmd(`qkv train ${shellWord(v.name)} --resume`)}   或换个名字：${opt(`name=${v.free}`)}`,
      ),
  },
  E152: {
    exit: 3,
    en: (v) =>
      text(`run "${v.name}" has no checkpoint`, `Begin it again: ${cmd(`qkv train ${shellWord(`runs/${v.name}/config.json`)}`)}`),
    zh: (v) => text(`运行 “${v.name}” 没有检查点`, `重新开始：${cmd(`qkv train ${shellWord(`runs/${v.name}/config.json`)}`)}`),
  },
  E153: {
    exit: 2,
    en: (v) => text(`${here(v.path)} exists and is not empty`, 'Take another name; nothing was changed'),
    zh: (v) => text(`${here(v.path)} 已存在且不为空`, '换个名字；没有改动任何东西'),
  },
  E154: {
    exit: 2,
    en: (v) =>
      text(
        `there is no template "${v.template}"`,
        `${v.nearest ? `Did you mean ${v.nearest}?  ` : ''}Templates: ${v.templates.join(', ')}`,
      ),
    zh: (v) =>
      text(`没有模板 “${v.template}”`, `${v.nearest ? `你是不是想写 ${v.nearest}？  ` : ''}模板：${v.templates.join('、')}`),
  },
  E155: {
    exit: 3,
    en: (v) =>
      text(`run "${v.name}" has no checkpoint ${v.step}`, v.steps.length ? `It has: ${v.steps.join(', ')}` : 'It has none'),
    zh: (v) => text(`运行 “${v.name}” 没有检查点 ${v.step}`, v.steps.length ? `有：${v.steps.join('、')}` : '一个也没有'),
  },
  E156: {
    exit: 2,
    en: (v) =>
      text(
        `another process trains "${v.name}" now${v.pid ? ` (${v.pid} on ${v.host})` : ''}`,
        'Stop it first with Ctrl-C in its terminal; it saves before it ends',
      ),
    zh: (v) =>
      text(
        `另一个进程正在训练 “${v.name}”${v.pid ? `（${v.host} 上的 ${v.pid}）` : ''}`,
        '先在它的终端按 Ctrl-C 停止；它会先保存',
      ),
  },
  E157: {
    exit: 2,
    en: (v) =>
      text(
        `"${v.name}" cannot be the name of a run`,
        'Letters and digits of any script, - _ and . ; at most 64, a letter or digit first',
      ),
    zh: (v) => text(`“${v.name}” 不能作运行的名字`, '可用任何文字的字母和数字、- _ 和 . ；至多 64 个，以字母或数字开头'),
  },
  E158: {
    exit: 2,
    en: (v) =>
      text(
        v.reason
          ? `${here(v.path)} holds something else: ${v.reason}; nothing was changed`
          : `the file ${here(v.path)} exists; nothing was changed`,
        v.setting
          ? `Another name after ${v.setting}=   or write over it: ${opt('--force')}`
          : `Another name: ${opt('--out NAME.json')}   or write over it: ${opt('--force')}`,
      ),
    zh: (v) =>
      text(
        v.reason ? `${here(v.path)} 里是别的内容；没有改动任何东西` : `文件 ${here(v.path)} 已存在；没有改动任何东西`,
        v.setting
          ? `换一个 ${v.setting}=   或覆盖：${opt('--force')}`
          : `换个名字：${opt('--out NAME.json')}   或覆盖：${opt('--force')}`,
      ),
  },
  E159: {
    exit: 2,
    en: (v) =>
      text(
        `${v.key} cannot change in a run that goes on (${v.before} → ${v.after})`,
        `Its weights have that shape. Begin a new run: ${cmd(`qkv train ${shellWord(`runs/${v.name}/config.json`)} ${v.key}=${v.after}`)}`,
      ),
    zh: (v) =>
      text(
        `续训时不能改 ${v.key}（${v.before} → ${v.after}）`,
        `权重的形状由它决定。开始新的运行：${cmd(`qkv train ${shellWord(`runs/${v.name}/config.json`)} ${v.key}=${v.after}`)}`,
      ),
  },
  E160: {
    exit: 2,
    en: (v) =>
      text(
        `the prompt is ${count(v.tokens, 'en')} tokens; this model was trained with context ${count(v.contextLength, 'en')}. Keep the last ${count(v.contextLength, 'en')}: ${opt('--truncate left')}`,
      ),
    zh: (v) =>
      text(
        `提示有 ${count(v.tokens, 'zh')} 个词元；此模型的上下文是 ${count(v.contextLength, 'zh')}。保留最后 ${count(v.contextLength, 'zh')} 个：${opt('--truncate left')}`,
      ),
  },
  E161: {
    exit: 2,
    en: (v) => text('the prompt is empty', `Give some text in quotes: ${cmd(`qkv ${v.verb} demo-1 "Once upon a time"`)}`),
    zh: (v) => text('提示是空的', `在引号里写点文字：${cmd(`qkv ${v.verb} demo-1 "从前"`)}`),
  },
  E162: {
    exit: 2,
    en: (v) =>
      text(
        `character ${count(v.position + 1, 'en')} of the text, "${v.char}", is not among the ${count(v.vocabSize, 'en')} that this model knows`,
        `Its tokenizer knows only the characters of its training data. Leave it out, or train with ${opt('tokenizer=bpe')}`,
      ),
    zh: (v) =>
      text(
        `文本第 ${count(v.position + 1, 'zh')} 个字符 “${v.char}” 不在此模型认识的 ${count(v.vocabSize, 'zh')} 个之中`,
        `它的词表只有训练数据里出现过的字符。去掉该字符，或用 ${opt('tokenizer=bpe')} 训练`,
      ),
  },
  E163: {
    exit: 2,
    en: (v) =>
      text(`there is no head L${v.layer}H${v.head}`, `This model has layers 0 … ${v.nLayer - 1} and heads 0 … ${v.nHead - 1}`),
    zh: (v) => text(`没有 L${v.layer}H${v.head} 这个头`, `此模型有第 0 … ${v.nLayer - 1} 层，每层第 0 … ${v.nHead - 1} 个头`),
  },
  E164: {
    exit: 2,
    en: (v) =>
      text(
        `run "${v.name}" is complete: step ${count(v.step, 'en')} of ${count(v.steps, 'en')}`,
        `Train it further: ${cmd(`qkv train ${shellWord(v.name)} --resume steps=${2 * v.steps}`)}`,
      ),
    zh: (v) =>
      text(
        `运行 “${v.name}” 已完成：第 ${count(v.step, 'zh')} 步，共 ${count(v.steps, 'zh')} 步`,
        `再训练下去：${cmd(`qkv train ${shellWord(v.name)} --resume steps=${2 * v.steps}`)}`,
      ),
  },
  E170: {
    exit: 3,
    en: (v) =>
      v.what === 'repo'
        ? text(
            `there is no repository ${v.repo} at ${v.endpoint}`,
            v.hasToken
              ? 'Check the name; your token may not see it'
              : 'Check the name. If it is private, set HF_TOKEN to a token that may read it',
          )
        : v.what === 'file'
          ? text(`${v.repo} has no file ${v.name}`, 'Check the name and the revision')
          : text(
              `${v.repo || 'the repository'} has no revision ${v.name ?? 'of this name'}`,
              'A branch, a tag or a commit; main when left out',
            ),
    zh: (v) =>
      v.what === 'repo'
        ? text(
            `${v.endpoint} 上没有仓库 ${v.repo}`,
            v.hasToken ? '检查名字；也可能是令牌没有权限' : '检查名字。如果是私有仓库，把 HF_TOKEN 设为有读权限的令牌',
          )
        : v.what === 'file'
          ? text(`${v.repo} 里没有文件 ${v.name}`, '检查文件名和版本')
          : text(`${v.repo || '该仓库'} 没有版本 ${v.name ?? ''}`.trimEnd(), '可用分支、标签或提交；省略时为 main'),
  },
  E171: {
    exit: 3,
    en: (v) =>
      text(
        `${v.endpoint} does not give ${v.repo} (HTTP ${v.status})`,
        v.hasToken
          ? 'Your token has no access: accept the terms on the page of the model, or take another token'
          : 'It is private, or its terms must be accepted on its page. Then set HF_TOKEN to a token that may read it',
      ),
    zh: (v) =>
      text(
        `${v.endpoint} 拒绝提供 ${v.repo}（HTTP ${v.status}）`,
        v.hasToken
          ? '令牌没有权限：先在模型页面接受条款，或换一个令牌'
          : '它是私有的，或要先在页面上接受条款。然后把 HF_TOKEN 设为有读权限的令牌',
      ),
  },
  E172: {
    exit: 75,
    en: (v) =>
      text(
        `no connection to ${v.endpoint}: ${v.reason}`,
        'What has arrived is kept: the same command goes on from there',
        'A mirror: set HF_ENDPOINT to its address. Without a network: copy the folder here and name it',
      ),
    zh: (v) =>
      text(
        `连不上 ${v.endpoint}：${v.reason}`,
        '已下载的部分保留：再执行同一命令会接着下',
        '用镜像：把 HF_ENDPOINT 设为镜像地址。没有网络：把文件夹拷到本机并指定路径',
      ),
  },
  E173: {
    exit: 65,
    en: (v) =>
      text(
        `${v.file} of ${v.repo} arrived with other bytes than the list says`,
        `expected ${v.expected}, got ${v.found}. Nothing was kept`,
        'Try again later, or take another mirror (HF_ENDPOINT)',
      ),
    zh: (v) =>
      text(
        `${v.repo} 的 ${v.file} 与清单不符`,
        `应为 ${v.expected}，实得 ${v.found}。已丢弃`,
        '稍后再试，或换一个镜像（HF_ENDPOINT）',
      ),
  },
  E174: {
    exit: 4,
    en: (v) =>
      text(
        `the download needs ${bytes(v.needed)}, the disk has ${bytes(v.free)}`,
        { where: here(v.folder) },
        'Free space, or set HF_HUB_CACHE to a folder on another disk',
      ),
    zh: (v) =>
      text(
        `下载需要 ${bytes(v.needed)}，磁盘只剩 ${bytes(v.free)}`,
        { where: here(v.folder) },
        '腾出空间，或把 HF_HUB_CACHE 设到另一块磁盘',
      ),
  },
  E175: {
    exit: 3,
    en: (v) =>
      text(
        `${v.repo} has no file that was asked for, and no weights of a kind that qkv reads on its own`,
        `It has: ${some(v.files, ', ', 8)}`,
        `Choose with file=NAME or a pattern such as file='*Q8_0.gguf'`,
      ),
    zh: (v) =>
      text(
        `${v.repo} 里没有所要的文件，也没有 qkv 能自动选中的权重`,
        `现有：${some(v.files, '、', 8)}`,
        `用 file= 指定文件名，或用 file='*Q8_0.gguf' 这样的模式`,
      ),
  },
  E176: {
    exit: 65,
    en: (v) => text(`${v.endpoint} does not answer as a hub does: ${v.detail}`, 'Check HF_ENDPOINT'),
    zh: (v) => text(`${v.endpoint} 的回答不符合 hub 的协议：${v.detail}`, '检查 HF_ENDPOINT'),
  },
  E177: {
    exit: 2,
    en: (v) =>
      text(`"${v.name}" is neither a file nor a folder here, nor the name of a repository`, 'Repositories are called ORG/NAME'),
    zh: (v) => text(`“${v.name}” 既不是本地文件或文件夹，也不是仓库名`, '仓库名写作 组织/名字'),
  },
  E178: {
    exit: 75,
    en: (v) =>
      text(
        `another process${v.pid ? ` (${v.pid}${v.host ? ` on ${v.host}` : ''})` : ''} is fetching ${v.repo}`,
        'Wait for it, or end it',
      ),
    zh: (v) =>
      text(`另一个进程${v.pid ? `（${v.pid}${v.host ? `，${v.host}` : ''}）` : ''}正在下载 ${v.repo}`, '等它完成，或结束它'),
  },
  E180: {
    exit: 65,
    en: (v) =>
      text(
        `tokenizer mismatch: the checkpoint expects ${count(v.expected, 'en')} entries${v.sha ? ` (sha ${v.sha.slice(0, 4)}…)` : ''}, ${here(v.path)} has ${count(v.found, 'en')}`,
        `Put back the one it was trained with${v.right ? `: ${here(v.right)}` : ''}`,
      ),
    zh: (v) =>
      text(
        `词表不符：检查点要 ${count(v.expected, 'zh')} 项${v.sha ? `（sha ${v.sha.slice(0, 4)}…）` : ''}，${here(v.path)} 有 ${count(v.found, 'zh')} 项`,
        `换回训练时的词表${v.right ? `：${here(v.right)}` : ''}`,
      ),
  },
  E181: {
    exit: 4,
    en: (v) =>
      text(
        `cannot write ${here(v.path)}: ${reasonEn[v.reason] ?? v.reason}`,
        'Free space, change the mode of the folder, or work in another one',
      ),
    zh: (v) => text(`写不了 ${here(v.path)}：${reasonZh[v.reason] ?? v.reason}`, '腾出空间、改文件夹权限，或换一个文件夹'),
  },
  E182: {
    exit: 3,
    en: (v) => text(`there is no file ${here(v.path)}`, 'Check the path'),
    zh: (v) => text(`没有文件 ${here(v.path)}`, '检查路径'),
  },
  E183: {
    exit: 3,
    en: (v) => text(`cannot read ${here(v.path)}: ${reasonEn[v.reason] ?? v.reason}`, 'Change its mode, or take another file'),
    zh: (v) => text(`读不了 ${here(v.path)}：${reasonZh[v.reason] ?? v.reason}`, '改权限，或换一个文件'),
  },
  E184: {
    exit: 65,
    en: (v) => text(`file refused (${v.code}): ${v.detail}`, { where: here(v.file) }, v.hint),
    zh: (v) => text(`拒绝文件（${v.code}）：${v.detail}`, { where: here(v.file) }, v.hint),
  },
  E185: {
    exit: 65,
    en: (v) => text(`tokenizer: ${v.detail}`),
    zh: (v) => text(`词表：${v.detail}`),
  },
  E190: {
    exit: 1,
    en: (v) =>
      text(
        `unexpected: ${v.detail}`,
        `This is a fault of qkv. More: add ${opt('--debug')}; about this machine: ${cmd('qkv doctor')}`,
      ),
    zh: (v) => text(`意外：${v.detail}`, `这是 qkv 的错误。更多：加 ${opt('--debug')}；本机信息：${cmd('qkv doctor')}`),
  },
  E191: {
    exit: 69,
    en: (v) =>
      text(
        `the native back-end is missing: ${v.reason}`,
        `Build it with a C++20 compiler: npm run build. Or train slowly: ${opt('backend=reference')}`,
      ),
    zh: (v) =>
      text(
        `没有本机后端：${reasonOfBackend(v.reason)}`,
        `用 C++20 编译器编译：npm run build。或慢速训练：${opt('backend=reference')}`,
      ),
  },
  W201: {
    en: (v) =>
      text(`running without the native back-end (${v.reason}): right, but slow`, 'Build it with a C++20 compiler: npm run build'),
    zh: (v) => text(`没有用本机后端（${reasonOfBackend(v.reason)}）：结果正确，但很慢`, '用 C++20 编译器编译：npm run build'),
  },
  W202: {
    en: (v) =>
      text(
        `this fills the memory: about ${bytes(v.needed)} of ${bytes(v.available)} available`,
        `Close other programs, or take less: ${opt('batch=4')}`,
      ),
    zh: (v) => text(`内存将近用满：约 ${bytes(v.needed)}，可用 ${bytes(v.available)}`, `关掉其他程序，或改小：${opt('batch=4')}`),
  },
  W203: {
    en: (v) =>
      text(
        `the first loss is ${v.loss.toFixed(2)}; a model that knows nothing has ln V = ${v.expected.toFixed(2)}`,
        'Something is off: labels shifted, or the start too wide',
      ),
    zh: (v) =>
      text(
        `起始损失是 ${v.loss.toFixed(2)}；一无所知的模型应为 ln V = ${v.expected.toFixed(2)}`,
        '不太对劲：标签错位，或初始化过大',
      ),
  },
  W210: {
    en: (v) =>
      text(
        `validation loss rose ${v.times} times in a row (${v.from.toFixed(2)} → ${v.to.toFixed(2)}) while training still falls: overfitting`,
        `Best point: step ${count(v.bestStep, 'en')} (saved). Try ${opt('dropout=0.1')}, a smaller model, or more data`,
      ),
    zh: (v) =>
      text(
        `验证损失已连续 ${v.times} 次上升（${v.from.toFixed(2)} → ${v.to.toFixed(2)}），训练仍在降：过拟合`,
        `最佳点在第 ${count(v.bestStep, 'zh')} 步（已保存）。可加 ${opt('dropout=0.1')}、减小模型或增加数据`,
      ),
  },
  W220: {
    en: (v) =>
      text(`a checkpoint was not saved: ${v.detail}`, 'Training goes on and tries again; three failures in a row end it'),
    zh: (v) => text(`有一个检查点没有存成：${v.detail}`, '训练继续并会再试；连续三次失败则结束'),
  },
  W221: {
    en: (v) => text(`the checkpoint is saved, but: ${v.message}`),
    zh: (v) => text(`检查点已存，但：${v.message}`),
  },
  W231: {
    en: (v) => text(`${count(v.duplicates, 'en')} of ${count(v.documents, 'en')} documents are copies of an earlier one`),
    zh: (v) => text(`${count(v.documents, 'zh')} 篇文档中有 ${count(v.duplicates, 'zh')} 篇与前面的重复`),
  },
  W232: {
    en: (v) => text(`line ends are \\r\\n in ${count(v.documents, 'en')} document(s); \\r becomes part of the vocabulary`),
    zh: (v) => text(`${count(v.documents, 'zh')} 篇文档的行尾是 \\r\\n；\\r 会进入词表`),
  },
  W233: {
    en: (v) => text(`U+FFFD in ${count(v.documents, 'en')} document(s): the text was damaged by an earlier conversion`),
    zh: (v) => text(`${count(v.documents, 'zh')} 篇文档里有 U+FFFD：文本在先前的转换中受损`),
  },
  W234: {
    en: (v) => text(`${count(v.documents, 'en')} document(s) spell a special token; it is encoded as ordinary text`),
    zh: (v) => text(`${count(v.documents, 'zh')} 篇文档写有特殊词元的文字；按普通文本编码`),
  },
  W235: {
    en: (v) =>
      text(
        `nine of ten documents are shorter than a quarter of the context (${count(v.p90, 'en')} of ${count(v.contextLength, 'en')} characters)`,
        'A shorter context is as good, and faster',
      ),
    zh: (v) =>
      text(
        `九成文档不到上下文的四分之一（${count(v.contextLength, 'zh')} 中的 ${count(v.p90, 'zh')} 个字符）`,
        '更短的上下文一样好，而且更快',
      ),
  },
  W236: {
    en: (v) => text(`there is little text (${count(v.units, 'en')}): a model will learn it by heart`),
    zh: (v) => text(`文本很少（${count(v.units, 'zh')}）：模型会把它背下来`),
  },
};

export const partEn: Record<string, string> = {
  weights: 'weights',
  gradients: 'gradients',
  moments: 'optimizer',
  activations: 'activations',
  logits: 'logits',
  staging: 'checkpoint copy',
  data: 'data',
  program: 'program',
};
export const partZh: Record<string, string> = {
  weights: '权重',
  gradients: '梯度',
  moments: '优化器',
  activations: '激活',
  logits: '输出层',
  staging: '存档副本',
  data: '数据',
  program: '程序',
};

const looks: [RegExp, string][] = [
  [/gzip|zip|archive|Zstandard|xz|bzip2/, '压缩包'],
  [/Parquet/, 'Parquet 表格'],
  [/PDF/, 'PDF'],
  [/image/, '图片'],
  [/SQLite/, 'SQLite 数据库'],
  [/program/, '程序'],
  [/shards/, 'qkv 的词元分片'],
  [/device|pipe|socket/, '设备、管道或套接字'],
];
const looksZh = (english: string) => looks.find(([pattern]) => pattern.test(english))?.[1] ?? english;

const reasonOfBackend = (reason: string) => (reason === 'the addon is not built' ? '尚未编译' : reason);
const percent = (share: number) => `${Number((share * 100).toPrecision(3))} %`;
const sayValue = (value: unknown) => (typeof value === 'string' ? value : JSON.stringify(value));
const tallyOr = (rejected: Record<string, number>, lang: Lang) => {
  const said = tally(rejected, lang === 'zh' ? kindsZh : kindsEn, lang);
  return said ? (lang === 'zh' ? `；被拒：${said}` : `; refused: ${said}`) : '';
};

/** What to type after a loss that is no number: a third of the learning rate, and clipping. */
const retry = (v: Values['E140']) =>
  `qkv train ${shellWord(v.lastGood ? (v.run ?? 'RUN') : v.run ? `runs/${v.run}/config.json` : '')}${v.lastGood ? ' --resume' : ''} lr=${short((v.lr ?? 1e-3) / 3)} clip=1`.replace(
    '  ',
    ' ',
  );

export const isCode = (code: string): code is Code => Object.hasOwn(messages, code);
