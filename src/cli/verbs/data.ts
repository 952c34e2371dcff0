/** `qkv data …`: what lies in the text, and what makes it fit to train on. Each verb is one function of data/. */
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import {
  agreementOf,
  Annotating,
  annotationItems,
  AnnotationLog,
  cleaner,
  cleanFiles,
  dedupFiles,
  exportConll,
  exportRows,
  inspectData,
  leakBetween,
  type LengthBin,
  NOTED,
  type PassOptions,
  type PassReport,
  pipelines,
  type Place,
  prepareData,
  readPipeline,
  REFUSED,
  splitFiles,
  statsOf,
} from '../../data/index.ts';
import { QkvError } from '../../errors.ts';
import { bars } from '../../figures/terminal.ts';
import { clip } from '../../figures/width.ts';
import { describeToken } from '../../tokenizers/index.ts';
import { resolve, settings, settingsOfArguments } from '../../settings/config.ts';
import { annotateOnTerminal } from '../annotate-screen.ts';
import { bytes, count } from '../format.ts';
import { here, isCode, shellWord } from '../messages.ts';
import { type Output, printable, table } from '../output.ts';
import type { Verb } from '../verb.ts';
import { required, verbSettings } from '../verb-settings.ts';
import { loadTokenizer } from './tok.ts';

/** The keys that say how text is read. */
const readKeys = ['data.field', 'data.documents', 'data.encoding', 'data.encodingErrors', 'contextLength'] as const;

const noted: Record<string, { en: string; zh: string }> = {
  bad_utf8: { en: 'rows that are not UTF-8', zh: '不是 UTF-8 的行' },
  too_long: { en: 'rows too long', zh: '过长的行' },
  bad_json: { en: 'rows that are not JSON', zh: '不是 JSON 的行' },
  bad_csv: { en: 'rows with stray quotes or another number of columns', zh: '引号或列数不对的行' },
  bad_field: { en: 'rows whose field is no text', zh: '字段不是文本的行' },
  truncated: { en: 'rows cut off at the end', zh: '末尾被截断的行' },
  empty: { en: 'empty rows', zh: '空行' },
  bom: { en: 'byte order marks dropped', zh: '去掉的 BOM' },
  replaced: { en: 'rows with replaced bytes', zh: '替换了坏字节的行' },
  surrogates: { en: 'rows with lone surrogates', zh: '含孤立代理项的行' },
  special_in_text: { en: 'documents that spell a special token', zh: '含特殊词元文字的文档' },
  split: { en: 'documents in several pieces', zh: '分成多段的文档' },
  cut_end: { en: 'files that end inside a character', zh: '在字符中间结束的文件' },
};

export const dataInspect: Verb = {
  name: 'data inspect',
  about: { en: 'files, documents, lengths, characters, faults of a text', zh: '文本的文件、文档、长度、字符与毛病' },
  words: [{ name: 'PATH' }],
  settings: Object.fromEntries(readKeys.map((k) => [k, settings[k]])),
  flags: [{ name: 'examples', takes: 'number', about: { en: 'documents to show (3)', zh: '显示几篇文档（3）' } }],
  examples: [
    'qkv data inspect book.txt',
    'qkv data inspect data/ --examples 5',
    'qkv data inspect rows.jsonl data.field=content contextLength=256',
  ],
  async run({ words: [path], settings: given, flags }, out) {
    const { config } = resolve([], settingsOfArguments(given), { needData: false });
    let drawn = 0;
    const found = await inspectData(path, {
      field: config['data.field'],
      documents: config['data.documents'],
      encoding: config['data.encoding'],
      encodingErrors: config['data.encodingErrors'] ?? undefined,
      // Only where it was asked about: what a document is to a context depends on the tokenizer.
      contextLength: given.some((s) => s.key === 'contextLength') ? config.contextLength : undefined,
      examples: (flags['examples'] as number | undefined) ?? 3,
      onProgress({ bytes: read, totalBytes }) {
        if (performance.now() - drawn < 100) return;
        drawn = performance.now();
        out.live(`${Math.round((100 * read) / Math.max(1, totalBytes))} %`);
      },
    });
    out.live('');
    const n = (x: number) => count(x, out.lang);
    const { lengths, rows } = found;

    out.answer(
      out.style(
        'bold',
        `${path}   ${found.kind} · ${bytes(found.bytes)}${found.files > 1 ? ` · ${n(found.files)} ${out.t({ en: 'files', zh: '个文件' })}` : ''}`,
      ),
    );
    out.answer(
      out.t({
        en: `${n(found.documents)} documents · ${n(found.characters)} characters, ${n(found.differentCharacters)} different · ${found.language}`,
        zh: `${n(found.documents)} 篇文档 · ${n(found.characters)} 个字符，${n(found.differentCharacters)} 种 · ${found.language}`,
      }),
    );
    out.answer(
      out.t({
        en: `length in characters: shortest ${n(lengths.min)}, median ${n(lengths.median)}, nine of ten below ${n(lengths.p90)}, longest ${n(lengths.max)}`,
        zh: `字符长度：最短 ${n(lengths.min)}，中位 ${n(lengths.median)}，九成低于 ${n(lengths.p90)}，最长 ${n(lengths.max)}`,
      }),
    );
    if (found.histogram.length > 1) {
      out.answer(
        bars(
          found.histogram.map((b) => ({ label: `< ${n(b.to)}`, value: b.documents, note: n(b.documents) })),
          { length: 32, ascii: Boolean(out.env['NO_COLOR']) },
        ),
      );
    }
    if (found.scripts.length > 0)
      out.answer(
        found.scripts
          .slice(0, 5)
          .map((s) => `${s.script} ${Math.round(100 * s.share)} %`)
          .join(' · '),
      );
    if (found.fields) {
      out.answer();
      out.answer(
        table(
          out.lang === 'zh'
            ? ['字段', '占比', '类型', '平均长度', '例子']
            : ['field', 'share', 'types', 'mean length', 'example'],
          found.fields.map((f) => [
            `${printable(f.name)}${f.name === found.field ? ' ◀' : ''}`,
            `${Math.round(100 * f.share)} %`,
            Object.keys(f.types).join(' '),
            n(f.meanLength),
            clip(printable(f.example.replace(/\s+/g, ' ')), 40),
          ]),
          [1, 3],
        ),
      );
    }
    const faults = [...REFUSED, ...NOTED].filter((k) => rows[k] > 0);
    for (const k of faults) {
      const refused = (REFUSED as readonly string[]).includes(k);
      out.answer(`${refused ? out.style('yellow', '!') : '·'} ${n(rows[k])} ${out.t(noted[k])}`);
    }
    for (const r of found.rejects.slice(0, 3))
      out.answer(out.style('dim', `    ${printable(`${here(r.source)}:${r.line} ${r.reason}`)}`));
    for (const { source, line, text } of found.examples) {
      out.answer();
      out.answer(out.style('dim', `${here(source)}:${n(line)}`));
      for (const part of text.split('\n').slice(0, 4)) out.answer(`  ${clip(printable(part), out.columns - 2)}`);
    }
    for (const { code, values } of found.warnings) if (isCode(code)) out.message(code, values as never);
    const chinese = found.scripts[0]?.script === 'Han';
    out.say();
    out.say(
      `${out.t({ en: 'Next', zh: '下一步' })}  qkv train data=${shellWord(here(path))}${chinese ? ' pattern=cjk' : ''}${given.map((s) => ` ${s.key}=${shellWord(s.text)}`).join('')}`,
    );
    out.event({ type: 'result', ok: true, ...found });
    return 0;
  },
};

/** How text is read, for the verbs that read all of it. */
const reading = {
  'data.field': settings['data.field'],
  'data.documents': settings['data.documents'],
  'data.encoding': settings['data.encoding'],
  'data.encodingErrors': settings['data.encodingErrors'],
  'data.maxRejected': settings['data.maxRejected'],
};
const about = (en: string, zh: string) => ({ en, zh });
const text = (en: string, zh: string) => z.string().min(1).nullable().default(null).meta(about(en, zh));
const share = (value: number, en: string, zh: string) => z.number().min(0).lt(1).default(value).meta(about(en, zh));
const outFile = text('the JSONL file to write', '要写的 JSONL 文件');
const outFolder = text('the folder to make', '要新建的文件夹');
const tokenizerWord = text(
  'a tokenizer.json, a folder that holds one, a run, or byte',
  'tokenizer.json、含有它的文件夹、某次运行，或 byte',
);
const forceFlag = { name: 'force', about: about('write over what exists', '覆盖已有的输出') };

type Reading = { [K in keyof typeof reading]: z.output<(typeof reading)[K]> };

/** The options of a pass over text, with a live line. */
function passOptions(given: Reading, out: Output): PassOptions {
  let drawn = 0;
  const began = performance.now();
  return {
    field: given['data.field'],
    documents: given['data.documents'],
    encoding: given['data.encoding'],
    encodingErrors: given['data.encodingErrors'] ?? undefined,
    maxRejected: given['data.maxRejected'],
    onProgress({ bytes: read, totalBytes, documents }) {
      const now = performance.now();
      if (now - drawn < 100) return;
      drawn = now;
      const left = ((now - began) / 1000) * (totalBytes / Math.max(1, read) - 1);
      const done = Math.round((100 * read) / Math.max(1, totalBytes));
      out.live(
        `${done} % · ${bytes(read)} · ${count(documents, out.lang)} ${out.t({ en: 'documents', zh: '篇' })} · ${out.t({ en: `${Math.ceil(left)} s left`, zh: `剩 ${Math.ceil(left)} 秒` })}`,
      );
    },
  };
}

/** E158 when there is a file, unless it may be written over. */
function freeFile(path: string, force: unknown): string {
  if (existsSync(path) && !force) throw new QkvError('E158', `${path} exists; nothing was changed`, { path, setting: 'out' });
  return path;
}

/** E153 when the folder holds anything, or a file is there. */
function freeFolder(path: string): string {
  if (existsSync(path) && !(statSync(path).isDirectory() && readdirSync(path).length === 0))
    throw new QkvError('E153', `${path} exists and is not empty`, { path });
  return path;
}

/** Rows that were refused or mended, one line a kind. */
function sayRows(out: Output, rows: PassReport['rows']): void {
  for (const kind of [...REFUSED, ...NOTED]) {
    if (rows[kind] === 0) continue;
    const refused = (REFUSED as readonly string[]).includes(kind);
    out.answer(`${refused ? out.style('yellow', '!') : '·'} ${count(rows[kind], out.lang)} ${out.t(noted[kind])}`);
  }
}

const oneLine = (s: string, width: number) => clip(printable(s.replace(/\s+/g, ' ')), width);
const placeOf = ({ source, line }: Place) => `${here(source)}:${line}`;

function histogramOf(out: Output, bins: readonly LengthBin[]): string {
  const n = (x: number) => count(x, out.lang);
  return bars(
    bins.map((b) => ({ label: `< ${n(b.to)}`, value: b.documents, note: n(b.documents) })),
    { length: 32, ascii: Boolean(out.env['NO_COLOR']) },
  );
}

const statsSettings = { tokenizer: tokenizerWord, ...reading };
export const dataStats: Verb = {
  name: 'data stats',
  about: { en: 'lengths in characters and tokens, vocabulary used, copies', zh: '字符与词元长度、词表使用率、重复' },
  words: [{ name: 'PATH' }],
  settings: statsSettings,
  examples: ['qkv data stats book.txt', 'qkv data stats rows.jsonl tokenizer=tokenizer.json data.field=content'],
  async run(args, out) {
    const given = verbSettings(statsSettings, args);
    const tokenizer = given.tokenizer === null ? undefined : loadTokenizer(given.tokenizer).tokenizer;
    const found = await statsOf(args.words[0], { ...passOptions(given, out), tokenizer });
    out.live('');
    const n = (x: number) => count(x, out.lang);
    const percent = (x: number) => `${(100 * x).toFixed(1)} %`;
    const { characters, tokens, alphabet, duplicates } = found;
    out.answer(
      out.style(
        'bold',
        `${args.words[0]}   ${bytes(found.bytes)} · ${n(found.documents)} ${out.t({ en: 'documents', zh: '篇文档' })}`,
      ),
    );
    const head = out.t({ en: 'length in', zh: '长度' });
    const quantiles = ['min', 'p10', 'median', 'p90', 'p99', 'max'] as const;
    const row = (name: string, l: typeof characters) => [name, n(l.total), l.mean.toFixed(1), ...quantiles.map((q) => n(l[q]))];
    out.answer(
      table(
        [
          head,
          ...(out.lang === 'zh'
            ? ['合计', '平均', '最短', '10 %', '中位', '90 %', '99 %', '最长']
            : ['total', 'mean', 'shortest', '10 %', 'median', '90 %', '99 %', 'longest']),
        ],
        [
          row(out.t({ en: 'characters', zh: '字符' }), characters),
          ...(tokens ? [row(out.t({ en: 'tokens', zh: '词元' }), tokens)] : []),
        ],
        [1, 2, 3, 4, 5, 6, 7, 8],
      ),
    );
    const shown = tokens ?? characters;
    if (shown.histogram.length > 1) {
      out.answer();
      out.answer(
        tokens
          ? out.t({ en: 'documents by tokens', zh: '按词元数的文档' })
          : out.t({ en: 'documents by characters', zh: '按字符数的文档' }),
      );
      out.answer(histogramOf(out, shown.histogram));
    }
    out.answer();
    out.answer(
      out.t({
        en: `${n(alphabet.different)} different characters; the ${n(alphabet.cover99)} most frequent make 99 % of the text, ${n(alphabet.cover9999)} make 99.99 %`,
        zh: `${n(alphabet.different)} 种字符；最常见的 ${n(alphabet.cover99)} 种占全文 99 %，${n(alphabet.cover9999)} 种占 99.99 %`,
      }),
    );
    if (tokens) {
      out.answer(
        out.t({
          en: `${tokens.charactersPerToken.toFixed(2)} characters and ${tokens.bytesPerToken.toFixed(2)} bytes a token; ${n(tokens.used)} of ${n(tokens.vocabSize)} entries occur (${percent(tokens.used / tokens.vocabSize)}); ${n(tokens.cover90)} of them make 90 % of the tokens`,
          zh: `每词元 ${tokens.charactersPerToken.toFixed(2)} 个字符、${tokens.bytesPerToken.toFixed(2)} 字节；词表 ${n(tokens.vocabSize)} 项中出现 ${n(tokens.used)} 项（${percent(tokens.used / tokens.vocabSize)}）；其中 ${n(tokens.cover90)} 项占 90 % 的词元`,
        }),
      );
      const top = tokens.top.map(
        (t) => `${JSON.stringify(describeToken(tokenizer!, t.id).text)} ${percent(t.count / tokens.total)}`,
      );
      out.answer(`${out.t({ en: 'most frequent', zh: '最常见' })}: ${printable(top.join('  '))}`);
      if (tokens.unknown > 0)
        out.answer(
          `${out.style('yellow', '!')} ${out.t({ en: `${n(tokens.unknown)} tokens are unknown to the vocabulary (${percent(tokens.unknown / tokens.total)})`, zh: `${n(tokens.unknown)} 个词元不在词表里（${percent(tokens.unknown / tokens.total)}）` })}`,
        );
    }
    out.answer(
      out.t({
        en: `${n(duplicates.documents)} documents are copies of an earlier one (${percent(duplicates.characters / Math.max(1, characters.total))} of the characters)`,
        zh: `${n(duplicates.documents)} 篇与前面的完全重复（占字符的 ${percent(duplicates.characters / Math.max(1, characters.total))}）`,
      }),
    );
    out.say();
    out.say(
      `${out.t({ en: 'Next', zh: '下一步' })}  ${duplicates.documents > 0 ? `qkv data dedup ${shellWord(here(args.words[0]))} out=unique.jsonl` : `qkv data clean ${shellWord(here(args.words[0]))} out=clean.jsonl`}`,
    );
    out.event({ type: 'result', ok: true, ...found });
    return 0;
  },
};

const cleanSettings = {
  out: outFile,
  pipeline: z
    .string()
    .min(1)
    .default('gentle')
    .meta(
      about(
        'gentle, web, or a JSON file of rules; in the name of out, {hash} stands for its hash',
        'gentle、web 或一个规则 JSON 文件；out 名字里的 {hash} 代表它的哈希',
      ),
    ),
  ...reading,
};
export const dataClean: Verb = {
  name: 'data clean',
  about: { en: 'puts every document through rules; says what each rule did', zh: '让每篇文档通过规则；报告每条规则做了什么' },
  words: [{ name: 'PATH' }],
  settings: cleanSettings,
  flags: [
    { name: 'examples', takes: 'number', about: about('examples to show for each rule (1)', '每条规则显示几个例子（1）') },
    forceFlag,
  ],
  examples: [
    'qkv data clean book.txt out=clean.jsonl',
    'qkv data clean web/ out=clean-{hash}.jsonl pipeline=web',
    'qkv data clean rows.jsonl out=clean.jsonl pipeline=rules.json data.field=content',
  ],
  async run(args, out) {
    const given = verbSettings(cleanSettings, args);
    const rules = Object.hasOwn(pipelines, given.pipeline) ? pipelines[given.pipeline]() : readPipeline(given.pipeline);
    const named = required(given.out, 'out=FILE', dataClean);
    const file = freeFile(named.replaceAll('{hash}', cleaner(rules).hash.slice(0, 8)), args.flags['force']);
    const report = await cleanFiles(args.words[0], { ...passOptions(given, out), out: file, rules });
    out.live('');
    const n = (x: number) => count(x, out.lang);
    const most = (args.flags['examples'] as number | undefined) ?? 1;
    out.answer(
      table(
        out.lang === 'zh' ? ['规则', '到达', '不变', '改动', '去掉'] : ['rule', 'seen', 'kept', 'changed', 'dropped'],
        report.rules.map((r) => [r.name, n(r.seen), n(r.kept), n(r.changed), n(r.dropped)]),
        [1, 2, 3, 4],
      ),
    );
    for (const { name, examples } of report.rules) {
      for (const what of ['changed', 'dropped'] as const)
        for (const e of examples.filter((x) => x.what === what).slice(0, most)) {
          const mark = what === 'dropped' ? '✗' : '→';
          out.say(
            out.style(
              'dim',
              `  ${name}: ${oneLine(JSON.stringify(e.before), Math.floor(out.columns / 2) - 10)} ${mark}${e.after === undefined ? '' : ` ${oneLine(JSON.stringify(e.after), Math.floor(out.columns / 2) - 10)}`}`,
            ),
          );
        }
    }
    sayRows(out, report.rows);
    out.answer(
      `${out.style('green', '✔')} ${here(file)}  ${out.t({
        en: `${n(report.kept)} of ${n(report.documents)} documents kept · ${n(report.charactersAfter)} of ${n(report.charactersBefore)} characters · rules ${report.pipeline.slice(0, 8)}`,
        zh: `${n(report.documents)} 篇中留下 ${n(report.kept)} 篇 · ${n(report.charactersBefore)} 个字符中留下 ${n(report.charactersAfter)} 个 · 规则 ${report.pipeline.slice(0, 8)}`,
      })}`,
    );
    out.say(
      `${out.t({ en: 'Next', zh: '下一步' })}  qkv data dedup ${shellWord(here(file))} out=unique.jsonl${fieldArgument(given)}`,
    );
    out.event({ type: 'result', ok: true, ...report });
    return 0;
  },
};

/** ` data.field=content`, where it is not the default: what was written has the same column. */
const fieldArgument = (given: Reading) => (given['data.field'] === 'text' ? '' : ` data.field=${shellWord(given['data.field'])}`);

const dedupSettings = {
  out: outFile,
  near: z.boolean().default(true).meta(about('also near duplicates (MinHash)', '也去掉近似重复（MinHash）')),
  threshold: z
    .number()
    .gt(0)
    .max(1)
    .default(0.8)
    .meta(about('similarity from which two documents are the same', '相似度达到多少算同一篇')),
  shingle: z
    .int()
    .min(1)
    .max(100)
    .default(5)
    .meta(about('words in a shingle (Chinese: characters)', '一个片段的词数（中文为字数）')),
  ...reading,
};
export const dataDedup: Verb = {
  name: 'data dedup',
  about: { en: 'leaves out documents that repeat an earlier one, exactly or nearly', zh: '去掉与前面完全或近似重复的文档' },
  words: [{ name: 'PATH' }],
  settings: dedupSettings,
  flags: [forceFlag],
  examples: [
    'qkv data dedup rows.jsonl out=unique.jsonl',
    'qkv data dedup data/ out=unique.jsonl threshold=0.9',
    'qkv data dedup names.txt out=unique.jsonl near=false data.documents=line',
  ],
  async run(args, out) {
    const given = verbSettings(dedupSettings, args);
    const file = freeFile(required(given.out, 'out=FILE', dataDedup), args.flags['force']);
    const { near, threshold, shingle } = given;
    const report = await dedupFiles(args.words[0], { ...passOptions(given, out), out: file, near, threshold, shingle });
    out.live('');
    const n = (x: number) => count(x, out.lang);
    for (const e of report.examples) {
      const said = e.what === 'exact' ? out.t({ en: 'copies', zh: '等同' }) : out.t({ en: 'nearly', zh: '近似' });
      out.say(out.style('dim', `${placeOf(e.at)} ${said} ${placeOf(e.of)}  ${oneLine(e.text, 40)}`));
    }
    sayRows(out, report.rows);
    out.answer(
      `${out.style('green', '✔')} ${here(file)}  ${out.t({
        en: `${n(report.kept)} of ${n(report.documents)} documents kept · ${n(report.exact)} exact copies · ${n(report.near)} near duplicates`,
        zh: `${n(report.documents)} 篇中留下 ${n(report.kept)} 篇 · 完全重复 ${n(report.exact)} · 近似重复 ${n(report.near)}`,
      })}`,
    );
    out.say(`${out.t({ en: 'Next', zh: '下一步' })}  qkv data split ${shellWord(here(file))} out=parts${fieldArgument(given)}`);
    out.event({ type: 'result', ok: true, ...report });
    return 0;
  },
};

const splitSettings = {
  out: outFolder,
  val: share(0.1, 'share for validation', '验证集比例'),
  test: share(0, 'share for testing', '测试集比例'),
  ...reading,
};
export const dataSplit: Verb = {
  name: 'data split',
  about: { en: 'train, val and test by the hash of each document', zh: '按文档哈希分成训练、验证、测试' },
  words: [{ name: 'PATH' }],
  settings: splitSettings,
  examples: ['qkv data split unique.jsonl out=parts', 'qkv data split data/ out=parts val=0.05 test=0.05'],
  async run(args, out) {
    const given = verbSettings(splitSettings, args);
    const { val, test } = given;
    if (val + test >= 1)
      throw new QkvError('E103', `val=${val} and test=${test} leave nothing to train on`, {
        key: 'val + test',
        value: val + test,
        allowed: 'a sum below 1',
        allowedZh: '两者之和小于 1',
      });
    const folder = freeFolder(required(given.out, 'out=FOLDER', dataSplit));
    const report = await splitFiles(args.words[0], { ...passOptions(given, out), out: folder, val, test });
    out.live('');
    const n = (x: number) => count(x, out.lang);
    out.answer(
      table(
        out.lang === 'zh' ? ['文件', '文档', '占比', '字符', '字节'] : ['file', 'documents', 'share', 'characters', 'bytes'],
        report.parts.map((p) => [
          here(join(folder, p.file)),
          n(p.documents),
          `${((100 * p.documents) / report.documents).toFixed(1)} %`,
          n(p.characters),
          bytes(p.bytes),
        ]),
        [1, 2, 3, 4],
      ),
    );
    for (const p of report.parts)
      if (p.documents === 0)
        out.answer(
          `${out.style('yellow', '!')} ${p.file}: ${out.t({ en: 'no document fell there; more documents, or a larger share', zh: '没有文档落在这里；需要更多文档或更大比例' })}`,
        );
    sayRows(out, report.rows);
    const other = report.parts.at(-1)!;
    out.say(
      `${out.t({ en: 'Next', zh: '下一步' })}  qkv data leak ${shellWord(here(join(folder, 'train.jsonl')))} ${shellWord(here(join(folder, other.file)))}${fieldArgument(given)}`,
    );
    out.event({ type: 'result', ok: true, ...report });
    return 0;
  },
};

const leakSettings = {
  n: z
    .int()
    .min(1)
    .max(1000)
    .default(13)
    .meta(about('words in a row that count as the same passage (Chinese: characters)', '连续多少个词算同一段（中文为字）')),
  threshold: z
    .number()
    .gt(0)
    .max(1)
    .default(0.5)
    .meta(about('share of its n-grams from which a test document counts as leaked', '测试文档的 n 元组有多大比例出现才算泄漏')),
  ...reading,
};
export const dataLeak: Verb = {
  name: 'data leak',
  about: { en: 'how much of the test text was in the training text', zh: '测试文本有多少出现在训练文本里' },
  words: [{ name: 'TRAIN' }, { name: 'TEST' }],
  settings: leakSettings,
  flags: [{ name: 'fail', about: about('end with 65 when a document leaked', '有文档泄漏时以 65 结束') }],
  examples: ['qkv data leak parts/train.jsonl parts/val.jsonl', 'qkv data leak train.txt test.txt n=8 --fail'],
  async run(args, out) {
    const given = verbSettings(leakSettings, args);
    const [train, test] = args.words;
    const report = await leakBetween(train, test, { ...passOptions(given, out), n: given.n, threshold: given.threshold });
    out.live('');
    const n = (x: number) => count(x, out.lang);
    const percent = (x: number) => `${(100 * x).toFixed(x > 0 && x < 0.001 ? 3 : 1)} %`;
    if (report.worst.length > 0) {
      out.answer(
        table(
          out.lang === 'zh' ? ['测试文档', '泄漏', '开头'] : ['test document', 'leaked', 'begins'],
          report.worst.map((w) => [placeOf(w.at), percent(w.share), oneLine(w.text, 60)]),
          [1],
        ),
      );
    }
    const clean = report.leaked === 0;
    out.answer(
      `${clean ? out.style('green', '✔') : out.style('yellow', '!')} ${out.t({
        en: `${n(report.leaked)} of ${n(report.test.documents)} test documents have ${percent(report.threshold)} or more of their ${report.n}-grams in training · ${n(report.touched)} have any · ${percent(report.share)} of all`,
        zh: `${n(report.test.documents)} 篇测试文档中 ${n(report.leaked)} 篇有 ${percent(report.threshold)} 以上的 ${report.n} 元组出现在训练里 · ${n(report.touched)} 篇有一些 · 全部的 ${percent(report.share)}`,
      })}`,
    );
    out.event({ type: 'result', ok: true, ...report });
    return !clean && args.flags['fail'] ? 65 : 0;
  },
};

const packSettings = {
  tokenizer: tokenizerWord,
  out: outFolder,
  valFraction: settings.valFraction,
  'data.split': settings['data.split'],
  ...reading,
};
export const dataPack: Verb = {
  name: 'data pack',
  about: { en: 'text into token shards with a manifest, ready to train on', zh: '把文本变成带清单的词元分片，可直接训练' },
  words: [{ name: 'PATH' }],
  settings: packSettings,
  flags: [forceFlag],
  examples: [
    'qkv data pack parts/train.jsonl tokenizer=tokenizer.json out=shards',
    'qkv data pack book.txt tokenizer=byte out=shards valFraction=0.05',
  ],
  async run(args, out) {
    const given = verbSettings(packSettings, args);
    const folder = required(given.out, 'out=FOLDER', dataPack);
    const { tokenizer } = loadTokenizer(required(given.tokenizer, 'tokenizer=FILE', dataPack));
    if (!existsSync(join(folder, 'manifest.json')) && !looksUnfinished(folder)) freeFolder(folder);
    const began = performance.now();
    const { onProgress, ...options } = passOptions(given, out);
    const prepared = await prepareData({
      ...options,
      path: args.words[0],
      tokenizer,
      outDir: folder,
      valFraction: given.valFraction,
      split: given['data.split'],
      onProgress(p) {
        if (p.kind === 'reading') onProgress?.(p);
        // Other tokens are here: they stay, unless the command says otherwise.
        if (p.kind === 'rebuild' && !args.flags['force'])
          throw new QkvError('E158', `${folder}: ${p.reason}`, { path: folder, setting: 'out', reason: p.reason });
      },
    });
    out.live('');
    prepared.close();
    const { manifest, reused } = prepared;
    const seconds = (performance.now() - began) / 1000;
    const n = (x: number) => count(x, out.lang);
    out.answer(
      table(
        out.lang === 'zh'
          ? ['部分', '文档', '词元', '字节', '字节/词元']
          : ['part', 'documents', 'tokens', 'bytes', 'bytes a token'],
        (['train', 'val'] as const).map((set) => [
          set,
          n(manifest[set].documents),
          n(manifest[set].tokens),
          bytes(manifest[set].bytes),
          (manifest[set].bytes / Math.max(1, manifest[set].tokens)).toFixed(2),
        ]),
        [1, 2, 3, 4],
      ),
    );
    sayRows(out, manifest.rows);
    const shards = manifest.shards.reduce((sum, s) => sum + s.files.length, 0);
    out.answer(
      `${out.style('green', '✔')} ${here(folder)}  ${out.t({
        en: `${n(shards)} shard(s) of ${manifest.dtype} · key ${manifest.key.slice(0, 8)} · ${reused ? 'already there, nothing to do' : `${seconds.toFixed(1)} s`}`,
        zh: `${n(shards)} 个 ${manifest.dtype} 分片 · 键 ${manifest.key.slice(0, 8)} · ${reused ? '已经就绪，无需处理' : `${seconds.toFixed(1)} 秒`}`,
      })}`,
    );
    out.say(
      `${out.t({ en: 'Next', zh: '下一步' })}  qkv train data=${shellWord(here(args.words[0]))} tokenizer=${shellWord(given.tokenizer!)}${fieldArgument(given)}`,
    );
    out.event({ type: 'result', ok: true, out: folder, reused, seconds, ...manifest });
    return 0;
  },
};

/** A folder in which a run was killed before its manifest: only our own names. */
const looksUnfinished = (folder: string) =>
  existsSync(folder) &&
  statSync(folder).isDirectory() &&
  readdirSync(folder).every((f) =>
    /^(\.tmp-prepare-|manifest\.json\.tmp-|[0-9a-f]{8}-(train|val|all)-\d{5}\.tokens$|rejects\.jsonl$)/.test(f),
  );

const annotateSettings = {
  labels: text('the labels, with commas between: pos,neg or 1,2,3,4,5', '标签，用逗号分开：pos,neg 或 1,2,3,4,5'),
  kind: z
    .enum(['class', 'span'])
    .default('class')
    .meta(about('a label for the whole document, or for stretches of it', '给整篇一个标签，或给其中的片段加标签')),
  annotator: z
    .string()
    .min(1)
    .default('me')
    .meta(about('who labels; each person has a queue of their own', '谁在标注；每人有自己的队列')),
  show: text(
    'columns to show one below the other, with commas between (pairs, preferences)',
    '上下并排显示的列，用逗号分开（成对数据、偏好数据）',
  ),
  out: text('the log of annotations, added to (PATH.annotations.jsonl)', '标注日志，只追加（PATH.annotations.jsonl）'),
  ...reading,
};
export const dataAnnotate: Verb = {
  name: 'data annotate',
  about: {
    en: 'labels documents by keyboard; goes on where it stopped, and says how far annotators agree',
    zh: '用键盘标注文档；从上次停下的地方继续，并给出标注者的一致程度',
  },
  words: [{ name: 'PATH' }],
  settings: annotateSettings,
  flags: [
    {
      name: 'export',
      takes: ['jsonl', 'conll'],
      about: about('writes what was labelled to stdout and asks nothing', '把标注结果写到标准输出，不再提问'),
    },
    { name: 'agreement', about: about('κ and α of the annotators, and asks nothing', '只给出标注者的 κ 与 α，不再提问') },
  ],
  examples: [
    'qkv data annotate reviews.txt labels=pos,neg data.documents=line',
    'qkv data annotate news.jsonl labels=PER,LOC kind=span annotator=ann',
    'qkv data annotate answers.jsonl labels=A,B,tie show=chosen,rejected',
    'qkv data annotate reviews.txt data.documents=line --agreement',
    'qkv data annotate news.jsonl --export conll',
  ],
  async run(args, out) {
    const given = verbSettings(annotateSettings, args);
    const [path] = args.words;
    const asks = !args.flags['export'] && !args.flags['agreement'];
    const labels = asks
      ? required(given.labels, 'labels=A,B', dataAnnotate)
          .split(',')
          .map((l) => l.trim())
          .filter((l) => l !== '')
      : [];
    if (asks && (labels.length < 1 || labels.length > 10 || new Set(labels).size < labels.length))
      throw new QkvError('E103', `labels=${given.labels} is not possible`, {
        key: 'labels',
        value: given.labels,
        allowed: '1 to 10 different labels',
        allowedZh: '1 到 10 个不同的标签',
      });
    const items = await annotationItems(path, { ...passOptions(given, out), show: given.show?.split(',').map((c) => c.trim()) });
    out.live('');
    const logPath = given.out ?? `${path.replace(/[/\\]+$/, '')}.annotations.jsonl`;
    if (!asks && !existsSync(logPath)) throw new QkvError('E182', `there is no file ${logPath}`, { path: logPath });
    const log = new AnnotationLog(logPath);
    try {
      const annotating = new Annotating(items, log.events, { onEvent: (event) => log.append(event) });
      if (args.flags['export']) {
        const rows = exportRows(annotating);
        out.stream(args.flags['export'] === 'conll' ? exportConll(rows) : rows.map((r) => `${JSON.stringify(r)}\n`).join(''));
        out.event({ type: 'result', ok: true, rows });
        return 0;
      }
      let ended: 'done' | 'quit' = 'done';
      if (asks)
        ended = await annotateOnTerminal(annotating, keyboard(), out, { annotator: given.annotator, labels, kind: given.kind });
      const progress = annotating.progress(given.annotator);
      const agreement = agreementOf(annotating);
      const n = (x: number) => count(x, out.lang);
      if (asks)
        out.answer(
          `${out.style('green', '✔')} ${here(logPath)}  ${out.t({
            en: `${n(progress.labelled)} labelled, ${n(progress.skipped)} skipped, ${n(progress.left)} left by ${given.annotator}`,
            zh: `${given.annotator} 标注 ${n(progress.labelled)}，跳过 ${n(progress.skipped)}，剩 ${n(progress.left)}`,
          })}`,
        );
      if (agreement) {
        const rest = [
          ...(agreement.fleiss === undefined ? [] : [`Fleiss κ ${agreement.fleiss.toFixed(3)}`]),
          ...Object.entries(agreement.alpha).map(([level, alpha]) => `Krippendorff α (${level}) ${alpha.toFixed(3)}`),
        ];
        for (const { a, b, items: both, kappa } of agreement.cohen)
          out.answer(`Cohen κ ${kappa.toFixed(3)}  ${a} · ${b}  (${n(both)})`);
        out.answer(`${rest.join(' · ')}  (${n(agreement.items)})`);
      } else if (!asks) out.answer(out.t({ en: 'no document was labelled by two annotators', zh: '还没有两人都标注过的文档' }));
      const same = args.settings.filter((s) => ended === 'quit' || ['out', 'show'].includes(s.key) || s.key.startsWith('data.'));
      out.say(
        `${out.t({ en: 'Next', zh: '下一步' })}  ${[
          'qkv data annotate',
          shellWord(here(path)),
          ...same.map((s) => `${s.key}=${shellWord(s.text)}`),
          ...(ended === 'quit' ? [] : ['--export', given.kind === 'span' ? 'conll' : 'jsonl']),
        ].join(' ')}`,
      );
      out.event({ type: 'result', ok: true, log: logPath, ended, ...progress, agreement });
      return 0;
    } finally {
      log.close();
    }
  },
};

/** What is typed; a terminal is put into raw mode for as long as it is read. Anything else (a pipe) is read to its end. */
async function* keyboard(): AsyncGenerator<string> {
  const { stdin } = process;
  if (stdin.isTTY) stdin.setRawMode(true);
  try {
    for await (const chunk of stdin) yield chunk.toString('utf8');
  } finally {
    if (stdin.isTTY) stdin.setRawMode(false);
    stdin.pause();
  }
}
