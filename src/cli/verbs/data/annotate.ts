/** `qkv data annotate`: labels by keyboard. */
import { existsSync } from 'node:fs';
import { z } from 'zod';
import {
  agreementOf,
  Annotating,
  annotationItems,
  AnnotationLog,
  type AnnotationTask,
  defaultLabels,
  exportConll,
  exportRows,
  taskKinds,
  taskProblem,
} from '../../../data/index.ts';
import { QkvError } from '../../../errors.ts';
import { annotateOnTerminal } from '../../annotate-screen.ts';
import { count } from '../../format.ts';
import { here, shellWord } from '../../messages/index.ts';
import type { AnnotatePageOptions } from '../../../serve/index.ts';
import type { Output } from '../../output.ts';
import { stopOnSignals } from '../../signals.ts';
import type { Verb } from '../../verb.ts';
import { required, verbSettings } from '../../verb-settings.ts';
import { about, passOptions, reading, text } from './common.ts';

const annotateSettings = {
  labels: text('the labels, with commas between: pos,neg or 1,2,3,4,5', '标签，用逗号分开：pos,neg 或 1,2,3,4,5'),
  kind: z
    .enum(taskKinds)
    .default('class')
    .meta(
      about(
        'a label for the whole document, for stretches of it, for a pair of columns, a rating, or which of two columns is better',
        '给整篇、其中的片段或两列组成的一对加标签，打分，或选两列中更好的一列',
      ),
    ),
  annotator: z
    .string()
    .min(1)
    .default('me')
    .meta(about('who labels; each person has a queue of their own', '谁在标注；每人有自己的队列')),
  show: text(
    'columns to show one below the other, with commas between (pairs, preferences)',
    '上下并排显示的列，用逗号分开（成对数据、偏好数据）',
  ),
  suggest: z
    .boolean()
    .default(true)
    .meta(
      about(
        'a classifier learns from the labels, suggests the next ones and asks first what it is least sure of',
        '分类器从已有标签学习，给出建议，并先问它最没把握的',
      ),
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
    {
      name: 'web',
      about: about('a page in the browser instead of the terminal, for this machine only', '用浏览器页面代替终端，只限本机'),
    },
    { name: 'port', takes: 'number', about: about('the port of the page (any free one)', '页面的端口（默认任一空闲端口）') },
    { name: 'agreement', about: about('κ and α of the annotators, and asks nothing', '只给出标注者的 κ 与 α，不再提问') },
  ],
  examples: [
    'qkv data annotate reviews.txt labels=pos,neg data.documents=line',
    'qkv data annotate news.jsonl labels=PER,LOC kind=span annotator=ann',
    'qkv data annotate answers.jsonl kind=preference show=prompt,chosen,rejected --web',
    'qkv data annotate answers.jsonl kind=rating show=prompt,answer',
    'qkv data annotate reviews.txt data.documents=line --agreement',
    'qkv data annotate news.jsonl --export conll',
  ],
  async run(args, out) {
    const given = verbSettings(annotateSettings, args);
    const [path] = args.words;
    const asks = !args.flags['export'] && !args.flags['agreement'];
    const columns = given.show?.split(',').map((c) => c.trim());
    const task: AnnotationTask = {
      kind: given.kind,
      labels: asks
        ? (
            given.labels?.split(',') ??
            defaultLabels(given.kind, columns) ??
            required(given.labels, 'labels=A,B', dataAnnotate).split(',')
          )
            .map((l) => l.trim())
            .filter((l) => l !== '')
        : [],
    };
    const problem = asks ? taskProblem(task, columns) : undefined;
    if (problem)
      throw new QkvError('E103', `labels=${given.labels} is not possible: ${problem.en}`, {
        key: 'labels',
        value: given.labels ?? '',
        allowed: problem.en,
        allowedZh: problem.zh,
      });
    const items = await annotationItems(path, { ...passOptions(given, out), show: columns });
    out.live('');
    const logPath = given.out ?? `${path.replace(/[/\\]+$/, '')}.annotations.jsonl`;
    if (!asks && !existsSync(logPath)) throw new QkvError('E182', `there is no file ${logPath}`, { path: logPath });
    const log = new AnnotationLog(logPath);
    try {
      const suggester =
        asks && given.suggest && task.kind !== 'span'
          ? new (await import('../../../applications/suggest-labels.ts')).LabelSuggester(items, task.labels)
          : undefined;
      const annotating = new Annotating(items, log.events, {
        onEvent: (event) => log.append(event),
        ...(suggester ? { priority: (item) => suggester.uncertainty(item.id) } : {}),
      });
      const afterDecision = () => void suggester?.update(annotating);
      afterDecision();
      if (args.flags['export']) {
        const rows = exportRows(annotating);
        out.stream(args.flags['export'] === 'conll' ? exportConll(rows) : rows.map((r) => `${JSON.stringify(r)}\n`).join(''));
        out.event({ type: 'result', ok: true, rows });
        return 0;
      }
      let ended: 'done' | 'quit' = 'done';
      const shared = { annotator: given.annotator, task, suggester, afterDecision };
      if (asks && args.flags['web']) {
        ended = 'quit';
        await servePage(annotating, out, { ...shared, title: here(path), port: args.flags['port'] as number | undefined });
      } else if (asks) ended = await annotateOnTerminal(annotating, keyboard(), out, shared);
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
          ...(args.flags['web'] ? ['--web'] : []),
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

/** The page, until somebody ends the command. What was decided is on disk already. */
async function servePage(
  annotating: Annotating,
  out: Output,
  options: Omit<AnnotatePageOptions, 'annotating' | 'language'> & { port: number | undefined },
): Promise<void> {
  const { annotateApp, serveLocally } = await import('../../../serve/index.ts');
  const app = annotateApp({ ...options, annotating, language: out.lang });
  const server = await serveLocally(app, { port: options.port ?? 0 }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EADDRINUSE' && error.code !== 'EACCES') throw error;
    throw new QkvError('E103', `port ${options.port}: ${error.code}`, {
      key: 'port',
      value: options.port ?? 0,
      allowed: 'a port that nobody else uses, or none: any free one',
      allowedZh: '没有被占用的端口；不写则任选一个空闲的',
    });
  });
  out.answer(server.url);
  out.say(
    out.t({
      en: 'Open this address in a browser. Ctrl-C ends; every decision is saved at once.',
      zh: '用浏览器打开这个地址。Ctrl-C 结束；每一步都已即时保存。',
    }),
  );
  out.event({ type: 'listening', url: server.url });
  await new Promise<void>((resolve) => {
    const stop = stopOnSignals(() => {
      stop.dispose();
      resolve();
    });
  });
  await server.close();
}

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
