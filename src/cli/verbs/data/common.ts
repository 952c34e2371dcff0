/** What the `qkv data` verbs have in common: how text is read, progress, outputs that are never written over, tables of rows. */
import { existsSync, readdirSync, statSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { z } from 'zod';
import {
  type LengthBin,
  type Lost,
  NOTED,
  type PassOptions,
  type PassReport,
  type Place,
  REFUSED,
  type WriteOptions,
} from '../../../data/index.ts';
import { QkvError } from '../../../errors.ts';
import { bars } from '../../../figures/terminal.ts';
import { clip } from '../../../figures/width.ts';
import { settings } from '../../../settings/config.ts';
import { bytes, count } from '../../format.ts';
import { here, shellWord } from '../../messages/index.ts';
import { type Output, printable } from '../../output.ts';

export const noted: Record<string, { en: string; zh: string }> = {
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

/** How text is read, for the verbs that read all of it. */
export const reading = {
  'data.field': settings['data.field'],
  'data.documents': settings['data.documents'],
  'data.encoding': settings['data.encoding'],
  'data.encodingErrors': settings['data.encodingErrors'],
  'data.maxRejected': settings['data.maxRejected'],
};
export const about = (en: string, zh: string) => ({ en, zh });
export const text = (en: string, zh: string) => z.string().min(1).nullable().default(null).meta(about(en, zh));
export const share = (value: number, en: string, zh: string) => z.number().min(0).lt(1).default(value).meta(about(en, zh));
export const outFile = text(
  'the JSONL file to write; a run that was cut off is gone on with',
  '要写的 JSONL 文件；中断的运行会接着做',
);
export const outFolder = text('the folder to make; a run that was cut off is gone on with', '要新建的文件夹；中断的运行会接着做');
export const tokenizerWord = text(
  'a tokenizer.json, a folder that holds one, a run, or byte',
  'tokenizer.json、含有它的文件夹、某次运行，或 byte',
);
export const forceFlag = { name: 'force', about: about('write over what exists', '覆盖已有的输出') };

export type Reading = { [K in keyof typeof reading]: z.output<(typeof reading)[K]> };

/** The options of a pass over text, with a live line. `before`: bytes of what was not read. */
export function passOptions(given: Reading, out: Output, before: () => number = () => 0): PassOptions {
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
      const left = ((now - began) / 1000) * ((totalBytes - read) / Math.max(1, read - before()));
      const done = Math.round((100 * read) / Math.max(1, totalBytes));
      out.live(
        `${done} % · ${bytes(read)} · ${count(documents, out.lang)} ${out.t({ en: 'documents', zh: '篇' })} · ${out.t({ en: `${Math.ceil(left)} s left`, zh: `剩 ${Math.ceil(left)} 秒` })}`,
      );
    },
  };
}

/** The options of a pass that writes. `mayWrite` says what may be written over; what a run that was killed has left is gone on with, and said. */
export function writeOptions(given: Reading, out: Output, mayWrite: () => unknown): Omit<WriteOptions, 'out'> {
  let before = 0;
  return {
    ...passOptions(given, out, () => before),
    mayWrite: () => void mayWrite(),
    onUnfinished(told) {
      if ('why' in told) sayLost(out, told);
      else {
        before = told.bytes;
        const n = (x: number) => count(x, out.lang);
        out.say(
          out.t({
            en: `going on behind ${n(told.documents)} finished document(s) of a run that was cut off; ${n(told.files)} file(s) are not read again`,
            zh: `上次中断的运行已完成 ${n(told.documents)} 篇文档，从其后继续；${n(told.files)} 个文件不再重读`,
          }),
        );
        out.event({ type: 'resumed', ...told });
      }
    },
  };
}

/** A run that was killed has left something, but nothing that this one can go on with. */
export function sayLost(out: Output, lost: Lost): void {
  const names = lost.names.map((name) => (`data.${name}` in reading ? `data.${name}` : name)).join(', ');
  const why = {
    options: { en: `of other options: ${names}`, zh: `选项不同：${names}` },
    input: { en: `of other input: ${names}`, zh: `输入不同：${names}` },
    damaged: { en: 'damaged', zh: '已损坏' },
  }[lost.why];
  out.say(
    out.t({
      en: `what a run that was cut off has left is ${why.en}; beginning anew`,
      zh: `上次中断的运行留下的内容不能继续（${why.zh}），从头开始`,
    }),
  );
  out.event({ type: 'restarted', ...lost });
}

/** For jobs of hours: collects garbage when the heap has grown by half, not when it has grown fourfold. Holds for this process and its threads. */
export const frugalHeap = (): void => setFlagsFromString('--heap-growing-percent=50');

/** E158 when there is a file, unless it may be written over. */
export function freeFile(path: string, force: unknown): string {
  if (existsSync(path) && !force) throw new QkvError('E158', `${path} exists; nothing was changed`, { path, setting: 'out' });
  return path;
}

/** E153 when the folder holds anything, or a file is there. */
export function freeFolder(path: string): string {
  if (existsSync(path) && !(statSync(path).isDirectory() && readdirSync(path).length === 0))
    throw new QkvError('E153', `${path} exists and is not empty`, { path });
  return path;
}

/** Rows that were refused or mended, one line a kind. */
export function sayRows(out: Output, rows: PassReport['rows']): void {
  for (const kind of [...REFUSED, ...NOTED]) {
    if (rows[kind] === 0) continue;
    const refused = (REFUSED as readonly string[]).includes(kind);
    out.answer(`${refused ? out.style('yellow', '!') : '·'} ${count(rows[kind], out.lang)} ${out.t(noted[kind])}`);
  }
}

export const oneLine = (s: string, width: number) => clip(printable(s.replace(/\s+/g, ' ')), width);
export const placeOf = ({ source, line }: Place) => `${here(source)}:${line}`;

export function histogramOf(out: Output, bins: readonly LengthBin[]): string {
  const n = (x: number) => count(x, out.lang);
  return bars(
    bins.map((b) => ({ label: `< ${n(b.to)}`, value: b.documents, note: n(b.documents) })),
    { length: 32, ascii: Boolean(out.env['NO_COLOR']) },
  );
}

/** ` data.field=content`, where it is not the default: what was written has the same column. */
export const fieldArgument = (given: Reading) =>
  given['data.field'] === 'text' ? '' : ` data.field=${shellWord(given['data.field'])}`;
