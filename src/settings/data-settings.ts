// The tokenizer, and what is read.
import { z } from 'zod';
import { fraction, key, whole } from './setting.ts';

export const dataSettings = {
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
  'data.mix': key(z.string().min(1).nullable().default(null), {
    group: 'data',
    en: 'Further sources with their shares of the training samples: books:0.3,code/:0.1; the rest are of data, which alone is validated on (causal)',
    zh: '更多数据来源及其在训练样本中的份额：books:0.3,code/:0.1；其余来自 data，也只在 data 上验证（causal）',
    auto: { en: 'none', zh: '无' },
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
};
