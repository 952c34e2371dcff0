/** `qkv data annotate`: labels by keyboard. */
import { existsSync } from 'node:fs';
import { z } from 'zod';
import { agreementOf, Annotating, annotationItems, AnnotationLog, exportConll, exportRows } from '../../../data/index.ts';
import { QkvError } from '../../../errors.ts';
import { annotateOnTerminal } from '../../annotate-screen.ts';
import { count } from '../../format.ts';
import { here, shellWord } from '../../messages.ts';
import type { Verb } from '../../verb.ts';
import { required, verbSettings } from '../../verb-settings.ts';
import { about, passOptions, reading, text } from './common.ts';

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
