/** `qkv data dedup`: without documents that repeat an earlier one. */
import { z } from 'zod';
import { dedupFiles } from '../../../data/index.ts';
import { count } from '../../format.ts';
import { here, shellWord } from '../../messages.ts';
import type { Verb } from '../../verb.ts';
import { required, verbSettings } from '../../verb-settings.ts';
import { about, fieldArgument, forceFlag, freeFile, oneLine, outFile, passOptions, placeOf, reading, sayRows } from './common.ts';

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
