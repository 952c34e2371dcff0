/** `qkv data leak`: how much of the test text was in the training text. */
import { z } from 'zod';
import { leakBetween } from '../../../data/index.ts';
import { count } from '../../format.ts';
import { table } from '../../output.ts';
import type { Verb } from '../../verb.ts';
import { verbSettings } from '../../verb-settings.ts';
import { about, oneLine, passOptions, placeOf, reading } from './common.ts';

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
