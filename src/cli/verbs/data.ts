/** `qkv data inspect PATH`: what lies in the text before anything is trained on it. */
import { relative } from 'node:path';
import { documents, listSources, NOTED, REFUSED, Rejects } from '../../data/index.ts';
import { bars } from '../../figures/terminal.ts';
import { clip } from '../../figures/width.ts';
import { resolve, settings, settingsOfArguments } from '../config.ts';
import { bytes, count } from '../format.ts';
import { printable, table } from '../output.ts';
import { shellWord } from '../messages.ts';
import type { Verb } from '../verb.ts';

/** The keys that say how text is read. */
const readKeys = ['data.field', 'data.documents', 'data.encoding', 'data.encodingErrors', 'data.maxRejected'] as const;

const noted: Record<string, { en: string; zh: string }> = {
  bad_utf8: { en: 'rows that are not UTF-8', zh: '不是 UTF-8 的行' },
  too_long: { en: 'rows too long', zh: '过长的行' },
  bad_json: { en: 'rows that are not JSON', zh: '不是 JSON 的行' },
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
    'qkv data inspect rows.jsonl data.field=content',
  ],
  async run({ words: [path], settings: given, flags }, out) {
    const { config } = resolve([], settingsOfArguments(given), { needData: false });
    const files = await listSources(path);
    const rejects = new Rejects(config['data.maxRejected']);
    const lengths: number[] = [];
    const seen = new Map<string, number>();
    const chars = new Map<string, number>();
    const shown: string[] = [];
    const most = (flags['examples'] as number | undefined) ?? 3;
    let totalChars = 0;
    let length = 0;
    let hash = 0;
    let duplicates = 0;
    let read = 0;
    const total = files.reduce((sum, f) => sum + f.size, 0);
    for await (const { text, first, last } of documents(files, {
      field: config['data.field'],
      documents: config['data.documents'],
      encoding: config['data.encoding'],
      encodingErrors: config['data.encodingErrors'] ?? undefined,
      rejects,
      onBytes(n) {
        read += n;
        out.live(`${Math.round((100 * read) / Math.max(1, total))} %`);
      },
    })) {
      if (first) {
        length = 0;
        hash = 0;
        if (shown.length < most) shown.push(text.slice(0, 400));
      }
      for (const char of text) {
        length++;
        chars.set(char, (chars.get(char) ?? 0) + 1);
        hash = (Math.imul(hash, 31) + char.codePointAt(0)!) | 0;
      }
      if (last) {
        lengths.push(length);
        totalChars += length;
        const key = `${length}:${hash}`;
        if (seen.has(key)) duplicates++;
        seen.set(key, 1);
      }
    }
    out.live('');

    out.answer(out.style('bold', `${path}   ${bytes(total)}`));
    out.answer(
      table(
        out.lang === 'zh' ? ['文件', '种类', '大小'] : ['file', 'kind', 'size'],
        files.slice(0, 12).map((f) => [printable(f.name), f.kind, bytes(f.size)]),
        [2],
      ),
    );
    if (files.length > 12)
      out.answer(
        out.t({ en: `… ${count(files.length - 12, 'en')} more files`, zh: `… 还有 ${count(files.length - 12, 'zh')} 个文件` }),
      );
    const sorted = [...lengths].sort((a, b) => a - b);
    const at = (q: number) => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? 0;
    const n = (x: number) => count(x, out.lang);
    out.answer();
    out.answer(
      out.t({
        en: `${n(lengths.length)} documents · ${n(totalChars)} characters, ${n(chars.size)} different · length: median ${n(at(0.5))}, 95 % below ${n(at(0.95))}, longest ${n(at(1))}`,
        zh: `${n(lengths.length)} 篇文档 · ${n(totalChars)} 个字符，${n(chars.size)} 种 · 长度：中位 ${n(at(0.5))}，95 % 低于 ${n(at(0.95))}，最长 ${n(at(1))}`,
      }),
    );
    const histogram = lengthBars(sorted);
    if (histogram.length > 1)
      out.answer(
        bars(
          histogram.map((b) => ({ label: b.label, value: b.documents, note: n(b.documents) })),
          { length: 32, ascii: !out.isTerminal && Boolean(out.env['NO_COLOR']) },
        ),
      );
    if (duplicates > 0) {
      out.answer(
        out.t({ en: `${n(duplicates)} documents occur before, word for word`, zh: `${n(duplicates)} 篇文档与前面的完全相同` }),
      );
    }
    const counters = rejects.summary();
    const faults = [...REFUSED, ...NOTED].filter((k) => counters[k] > 0);
    for (const k of faults)
      out.answer(
        `${(REFUSED as readonly string[]).includes(k) ? out.style('yellow', '!') : '·'} ${n(counters[k])} ${out.t(noted[k])}`,
      );
    const frequent = [...chars].sort((a, b) => b[1] - a[1]).slice(0, 24);
    out.answer();
    out.answer(
      `${out.t({ en: 'most frequent', zh: '最常见' })}: ${frequent.map(([c]) => (c === '\n' ? '⏎' : c === ' ' ? '␣' : c === '\t' ? '⇥' : printable(c))).join(' ')}`,
    );
    for (const [i, text] of shown.entries()) {
      out.answer();
      out.answer(out.style('dim', out.t({ en: `document ${i + 1}`, zh: `第 ${i + 1} 篇` })));
      for (const line of text.split('\n').slice(0, 6)) out.answer(`  ${clip(printable(line), out.columns - 2)}`);
    }
    const han = [...chars].filter(([c]) => /\p{Script=Han}/u.test(c)).reduce((s, [, k]) => s + k, 0);
    const chinese = han > 0.2 * totalChars;
    out.say();
    out.say(
      `${out.t({ en: 'Next', zh: '下一步' })}  qkv train data=${shellWord(relative(process.cwd(), path) || path)}${chinese ? ' pattern=cjk' : ''}${given.map((s) => ` ${s.key}=${shellWord(s.text)}`).join('')}`,
    );
    out.event({
      type: 'result',
      ok: true,
      path,
      bytes: total,
      files: files.map((f) => ({ name: f.name, kind: f.kind, bytes: f.size })),
      documents: lengths.length,
      characters: totalChars,
      differentCharacters: chars.size,
      duplicates,
      length: { median: at(0.5), p95: at(0.95), longest: at(1) },
      rows: counters,
      chinese,
    });
    return 0;
  },
};

/** Documents by length, in powers of two. */
function lengthBars(sorted: readonly number[]): { label: string; documents: number }[] {
  const buckets = new Map<number, number>();
  for (const l of sorted) {
    const k = Math.max(3, Math.ceil(Math.log2(Math.max(1, l))));
    buckets.set(k, (buckets.get(k) ?? 0) + 1);
  }
  const keys = [...buckets.keys()].sort((a, b) => a - b);
  if (keys.length === 0) return [];
  return Array.from({ length: keys.at(-1)! - keys[0] + 1 }, (_, i) => ({
    label: `≤ ${2 ** (keys[0] + i)}`,
    documents: buckets.get(keys[0] + i) ?? 0,
  }));
}
