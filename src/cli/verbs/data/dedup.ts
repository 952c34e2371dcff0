/** `qkv data dedup`: without documents that repeat an earlier one. */
import { z } from 'zod';
import { dedupFiles, dedupParagraphs, type ParagraphReport } from '../../../data/index.ts';
import { count } from '../../format.ts';
import { here, shellWord } from '../../messages/index.ts';
import type { Output } from '../../output.ts';
import type { Verb } from '../../verb.ts';
import { required, verbSettings } from '../../verb-settings.ts';
import {
  about,
  fieldArgument,
  forceFlag,
  freeFile,
  oneLine,
  outFile,
  placeOf,
  reading,
  sayRows,
  writeOptions,
} from './common.ts';

const dedupSettings = {
  out: outFile,
  by: z
    .enum(['document', 'paragraph'])
    .default('document')
    .meta(about('whole documents, or the paragraphs in them', '按整篇文档，或按其中的段落')),
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
  minWords: z
    .int()
    .min(1)
    .default(20)
    .meta(about('by paragraph: shorter ones stay (Chinese: characters)', '按段落时：更短的段落保留（中文为字数）')),
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
    'qkv data dedup pages.jsonl out=unique.jsonl by=paragraph minWords=30',
    'qkv data dedup names.txt out=unique.jsonl near=false data.documents=line',
  ],
  async run(args, out) {
    const given = verbSettings(dedupSettings, args);
    const file = required(given.out, 'out=FILE', dataDedup);
    const { near, threshold, shingle, minWords } = given;
    const writing = {
      ...writeOptions(given, out, () => freeFile(file, args.flags['force'])),
      out: file,
      near,
      threshold,
      shingle,
    };
    if (given.by === 'paragraph') {
      const found = await dedupParagraphs(args.words[0], { ...writing, minWords });
      sayParagraphs(out, found, fieldArgument(given));
      return 0;
    }
    const report = await dedupFiles(args.words[0], writing);
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

function sayParagraphs(out: Output, report: ParagraphReport, field: string): void {
  out.live('');
  const n = (x: number) => count(x, out.lang);
  const percent = (100 * (1 - report.charactersAfter / Math.max(1, report.charactersBefore))).toFixed(1);
  for (const e of report.examples) {
    const said = e.what === 'exact' ? out.t({ en: 'copies', zh: '等同' }) : out.t({ en: 'nearly', zh: '近似' });
    out.say(out.style('dim', `${placeOf(e.at)} ${said} ${placeOf(e.of)}  ${oneLine(e.text, 40)}`));
  }
  sayRows(out, report.rows);
  out.answer(
    `${out.style('green', '✔')} ${here(report.out)}  ${out.t({
      en: `${n(report.kept)} of ${n(report.documents)} documents kept, ${n(report.changed)} of them shorter · of ${n(report.paragraphs)} paragraphs ${n(report.compared)} compared: ${n(report.exact)} exact copies, ${n(report.near)} near duplicates · ${percent} % of the characters left out`,
      zh: `${n(report.documents)} 篇中留下 ${n(report.kept)} 篇，其中 ${n(report.changed)} 篇变短 · ${n(report.paragraphs)} 段中比较了 ${n(report.compared)} 段：完全重复 ${n(report.exact)}，近似重复 ${n(report.near)} · 去掉 ${percent} % 的字符`,
    })}`,
  );
  out.say(`${out.t({ en: 'Next', zh: '下一步' })}  qkv data split ${shellWord(here(report.out))} out=parts${field}`);
  out.event({ type: 'result', ok: true, ...report });
}
