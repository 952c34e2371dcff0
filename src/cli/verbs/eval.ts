/** `qkv eval RUN`: how well a run does what it was trained for, on the whole validation data or on other data. */
import { rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Score } from '../../applications/events.ts';
import { answersOf } from '../../applications/answers.ts';
import { QkvError } from '../../errors.ts';
import { chatTemplateOf } from '../../applications/dialogues.ts';
import { openTask } from '../../applications/tasks/open.ts';
import type { Task } from '../../applications/tasks/task.ts';
import { preparedFolder } from '../../applications/text-data.ts';
import { dispose } from '../../nn/index.ts';
import { settings, settingsOfArguments } from '../../settings/config.ts';
import { asksTokens } from '../../settings/families.ts';
import { count, duration, loss } from '../format.ts';
import { scoreWords } from '../score-words.ts';
import { type LoadedAny, loadAnyRun } from '../load-run.ts';
import { here } from '../messages/index.ts';
import { type Output, printable } from '../output.ts';
import { stopOnSignals, turn } from '../signals.ts';
import type { Verb } from '../verb.ts';
import { rootFlag } from './runs.ts';

const keys = [
  'data',
  'data.field',
  'data.source',
  'data.target',
  'data.targetFile',
  'data.documents',
  'data.encoding',
  'data.encodingErrors',
  'batch',
] as const;

export const evaluate: Verb = {
  name: 'eval',
  about: {
    en: 'loss, perplexity, bits a byte, accuracy or exact matches on all validation data or other data',
    zh: '在全部验证数据或另一份数据上的损失、困惑度、比特/字节、准确率或完全匹配',
  },
  words: [{ name: 'RUN' }],
  settings: Object.fromEntries(keys.map((k) => [k, settings[k]])),
  flags: [
    {
      name: 'batches',
      takes: 'number',
      about: { en: 'at most so many micro-batches, spread evenly', zh: '最多这么多微批，均匀取样' },
    },
    {
      name: 'answers',
      takes: 'number',
      about: {
        en: 'of pairs: sources that are answered and compared with their target; 50 when left out',
        zh: '成对数据：让模型作答并与目标比较的条数；默认 50',
      },
    },
    rootFlag,
  ],
  examples: [
    'qkv eval demo-1',
    'qkv eval demo-1@best --json',
    'qkv eval demo-1 data=other.txt',
    'qkv eval en-de-1 --answers 200',
  ],
  async run({ words: [spec], settings: given, flags }, out) {
    const run = loadAnyRun(spec, { root: flags['root'] as string | undefined, out });
    const own = Object.fromEntries(settingsOfArguments(given).map((w) => [w.key, w.value]));
    const other = own['data'] !== undefined;
    // What training prepared is taken as it is; other data is prepared for this time only, and all of it is scored.
    const config = {
      ...run.config,
      ...(other && own['data.targetFile'] === undefined ? { 'data.targetFile': null } : {}),
      ...own,
    };
    if (config.data === '') throw new QkvError('E105', 'an imported model has no data of its own: data=FILE', { key: 'data' });
    const temporary = other ? await mkdtemp(join(tmpdir(), 'qkv-eval-')) : undefined;
    const folder = temporary ?? preparedFolder(config, run.tokenizer.vocabSize, join(dirname(run.folder), '.data'));
    const interrupted = new AbortController();
    const stop = stopOnSignals(() => interrupted.abort());
    const began = performance.now();
    let task: Task | undefined;
    try {
      const template = config.objective === 'dialogues' ? await chatTemplateOf(run.tokenizer, run.checkpoint) : undefined;
      task = await openTask(config, run.any, run.tokenizer, { folder, template, whole: other, signal: interrupted.signal });
      const batches = flags['batches'] as number | undefined;
      const score = await task.evaluate({
        batches,
        stop: () => stop.asked,
        async onBatch(done, of) {
          out.live(`${Math.round((100 * done) / of)} %`);
          await turn();
        },
      });
      const answers =
        task.pairs && run.any.kind !== 'encoder' && !stop.asked
          ? await answersOf(run, config, flags['answers'] as number | undefined, {
              whole: other,
              stop: () => stop.asked,
              onAnswer: async (done, of) => {
                out.live(out.t({ en: `answer ${done} of ${of}`, zh: `第 ${done} / ${of} 条作答` }));
                await turn();
              },
            })
          : undefined;
      out.live('');
      const seconds = (performance.now() - began) / 1000;
      const uniform = task.uniformLossNats ?? Math.log(run.any.vocabSize);
      say(out, run, score, { data: config.data, other, seconds, uniform });
      if (answers) {
        const share = answers.exact / Math.max(1, answers.rows.length);
        for (const { source, target, text } of answers.rows.slice(0, 5)) {
          out.answer(`  ${printable(source)}`);
          out.answer(out.style('dim', `    ${out.t({ en: 'target', zh: '目标' })} ${printable(target)}`));
          out.answer(`    ${out.t({ en: 'model', zh: '模型' })}  ${printable(text)}${text.trim() === target.trim() ? ' =' : ''}`);
        }
        out.answer(
          out.t({
            en: `${count(answers.exact, 'en')} of ${count(answers.rows.length, 'en')} answers are the target exactly (${(100 * share).toFixed(1)} %)`,
            zh: `${count(answers.rows.length, 'zh')} 条作答中 ${count(answers.exact, 'zh')} 条与目标完全一致（${(100 * share).toFixed(1)} %）`,
          }),
        );
      }
      out.event({
        type: 'result',
        ok: true,
        run: run.name,
        step: run.step,
        model: run.config.model,
        objective: config.objective,
        data: config.data,
        ...score,
        ...(answers ? { exactMatch: answers.exact / Math.max(1, answers.rows.length), answers: answers.rows } : {}),
        seconds,
        complete: !stop.asked && batches === undefined,
      });
    } catch (error) {
      if (!interrupted.signal.aborted || error !== interrupted.signal.reason) throw error;
      out.live('');
      out.say(out.t({ en: 'Stopped while the data was read.', zh: '读数据时停止。' }));
      out.event({ type: 'result', ok: false, status: 'stopped' });
      return 130;
    } finally {
      task?.close();
      stop.dispose();
      dispose(run.any.model);
      if (temporary) rmSync(temporary, { recursive: true, force: true });
    }
    return 0;
  },
};

function say(
  out: Output,
  run: LoadedAny,
  score: Score,
  { data, other, seconds, uniform }: { data: string; other: boolean; seconds: number; uniform: number },
): void {
  const { lossNats, perplexity, bitsPerByte, tokens } = score;
  const n = (x: number) => count(x, out.lang);
  const tokensAlone = asksTokens(run.config.objective);
  const en = tokensAlone
    ? [`loss ${loss(lossNats)} nats a token`, `perplexity ${perplexity.toFixed(2)}`]
    : [`loss ${loss(lossNats)} nats`];
  const zh = tokensAlone
    ? [`损失 ${loss(lossNats)} nat/词元`, `困惑度 ${perplexity.toFixed(2)}`]
    : [`损失 ${loss(lossNats)} nat`];
  if (bitsPerByte !== undefined) {
    en.push(`${bitsPerByte.toFixed(3)} bits a byte`);
    zh.push(`${bitsPerByte.toFixed(3)} 比特/字节`);
  }
  const more = scoreWords(score);
  en.push(...more.map((w) => w.en));
  zh.push(...more.map((w) => w.zh));
  out.answer(`${run.name}@${run.step}   ${out.t({ en: en.join(' · '), zh: zh.join(' · ') })}`);
  const guess = uniform.toFixed(3);
  out.say(
    out.style(
      'dim',
      out.t({
        en: `${n(tokens)} tokens of ${here(data)}${other ? '' : ' (validation part)'} in ${duration(seconds, 'en')}. A uniform guess: ${guess}`,
        zh: `${here(data)}${other ? ' ' : '（验证部分）'}的 ${n(tokens)} 个词元，用时 ${duration(seconds, 'zh')}。均匀猜测：${guess}`,
      }),
    ),
  );
}
