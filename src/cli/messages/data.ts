/** Messages about data: text, tables, pairs, packs. Part of the table in index.ts. */
import { clip, displayWidth } from '../../figures/width.ts';
import { count, type Lang } from '../format.ts';
import { cmd, opt, text, here, shellWord, type Entry, some } from './parts.ts';

/** The values that each code is made of. */
export interface DataValues {
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
  E141: { path: string; line: number; wanted: string[]; columns: string[]; setting?: string };
  E142: { path: string; problem: string; rules: string[] };
  E143: { path: string; other: string; lines: number; otherLines: number };
  E146: { path: string; splits: string[] };
  W231: { duplicates: number; documents: number };
  W232: { documents: number };
  W233: { documents: number };
  W234: { documents: number };
  W235: { p90: number; contextLength: number };
  W236: { units: number };
}

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

const percent = (share: number) => `${Number((share * 100).toPrecision(3))} %`;

const tallyOr = (rejected: Record<string, number>, lang: Lang) => {
  const said = tally(rejected, lang === 'zh' ? kindsZh : kindsEn, lang);
  return said ? (lang === 'zh' ? `；被拒：${said}` : `; refused: ${said}`) : '';
};

export const dataMessages: { [C in keyof DataValues]: Entry<DataValues[C]> } = {
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
