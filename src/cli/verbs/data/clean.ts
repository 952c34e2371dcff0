/** `qkv data clean`: every document through rules, with what each rule did. */
import { z } from 'zod';
import { cleaner, cleanFiles, pipelines, readPipeline } from '../../../data/index.ts';
import { count } from '../../format.ts';
import { here, shellWord } from '../../messages/index.ts';
import { table } from '../../output.ts';
import type { Verb } from '../../verb.ts';
import { required, verbSettings } from '../../verb-settings.ts';
import { about, fieldArgument, forceFlag, freeFile, oneLine, outFile, reading, sayRows, writeOptions } from './common.ts';

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
    const file = named.replaceAll('{hash}', cleaner(rules).hash.slice(0, 8));
    const mayWrite = () => freeFile(file, args.flags['force']);
    const report = await cleanFiles(args.words[0], { ...writeOptions(given, out, mayWrite), out: file, rules });
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
    for (const { name, notes, examples } of report.rules) {
      const counted = Object.entries(notes).sort((a, b) => b[1] - a[1]);
      if (counted.length > 0)
        out.say(
          out.style(
            'dim',
            `  ${name}: ${counted
              .slice(0, 8)
              .map(([what, times]) => `${what} ${n(times)}`)
              .join(' · ')}`,
          ),
        );
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
