/** `qkv data stats`: lengths, vocabulary used, copies. */
import { writeFileSync } from 'node:fs';
import { type LengthReport, type Stats, statsOf } from '../../../data/index.ts';
import { histogramSvg } from '../../../figures/index.ts';
import { describeToken } from '../../../tokenizers/index.ts';
import { bytes, count } from '../../format.ts';
import { here, shellWord } from '../../messages/index.ts';
import { type Output, printable, table } from '../../output.ts';
import type { Verb } from '../../verb.ts';
import { verbSettings } from '../../verb-settings.ts';
import { loadTokenizer } from '../tok/index.ts';
import { about, forceFlag, freeFile, histogramOf, passOptions, reading, tokenizerWord } from './common.ts';

const statsSettings = { tokenizer: tokenizerWord, ...reading };
export const dataStats: Verb = {
  name: 'data stats',
  about: { en: 'lengths in characters and tokens, vocabulary used, copies', zh: '字符与词元长度、词表使用率、重复' },
  words: [{ name: 'PATH' }],
  settings: statsSettings,
  flags: [
    { name: 'svg', takes: 'text', about: about('also draws the lengths into this SVG file', '另把长度分布画进这个 SVG 文件') },
    forceFlag,
  ],
  examples: [
    'qkv data stats book.txt',
    'qkv data stats rows.jsonl tokenizer=tokenizer.json data.field=content',
    'qkv data stats book.txt --svg lengths.svg',
  ],
  async run(args, out) {
    const given = verbSettings(statsSettings, args);
    const svg = args.flags['svg'] as string | undefined;
    if (svg !== undefined) freeFile(svg, args.flags['force']);
    const tokenizer = given.tokenizer === null ? undefined : (await loadTokenizer(given.tokenizer)).tokenizer;
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
    if (svg !== undefined) {
      writeFileSync(svg, lengthsSvg(found, out));
      out.answer(`${out.style('green', '✔')} ${here(svg)}`);
    }
    out.say();
    out.say(
      `${out.t({ en: 'Next', zh: '下一步' })}  ${duplicates.documents > 0 ? `qkv data dedup ${shellWord(here(args.words[0]))} out=unique.jsonl` : `qkv data clean ${shellWord(here(args.words[0]))} out=clean.jsonl`}`,
    );
    out.event({ type: 'result', ok: true, ...found, ...(svg === undefined ? {} : { svg }) });
    return 0;
  },
};

/** Lengths in characters, and in tokens where there is a tokenizer, as a figure. */
function lengthsSvg({ path, documents, characters, tokens }: Stats, out: Output): string {
  const n = (x: number) => count(x, out.lang);
  const units = {
    characters: out.t({ en: 'characters', zh: '字符' }),
    tokens: out.t({ en: 'tokens', zh: '词元' }),
  };
  const quantiles = (l: LengthReport) =>
    out.t({
      en: `shortest ${n(l.min)} · median ${n(l.median)} · nine of ten below ${n(l.p90)} · longest ${n(l.max)}`,
      zh: `最短 ${n(l.min)} · 中位 ${n(l.median)} · 九成低于 ${n(l.p90)} · 最长 ${n(l.max)}`,
    });
  const panel = (unit: string, l: LengthReport) => ({
    title: out.t({ en: `Documents by ${unit}`, zh: `按${unit}数的文档` }),
    x: out.t({ en: `${unit} of a document, up to`, zh: `每篇的${unit}数，不到` }),
    y: out.t({ en: 'documents', zh: '文档数' }),
    bars: l.histogram.map((b) => ({ label: `< ${n(b.to)}`, value: b.documents, note: n(b.documents) })),
    caption: quantiles(l),
  });
  const shown = printable(here(path));
  const told = (unit: string, l: LengthReport) => `${unit}: ${quantiles(l)}`;
  return histogramSvg([panel(units.characters, characters), ...(tokens ? [panel(units.tokens, tokens)] : [])], {
    title: out.t({ en: `Lengths of ${n(documents)} documents, ${shown}`, zh: `${shown}：${n(documents)} 篇文档的长度` }),
    description: [told(units.characters, characters), ...(tokens ? [told(units.tokens, tokens)] : [])].join('; '),
    lang: out.lang,
  });
}
