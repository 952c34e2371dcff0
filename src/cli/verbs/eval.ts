/** `qkv eval RUN`: loss, perplexity and bits a byte on the whole validation data, or on another text. */
import { rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { preparedFolder } from '../../applications/pretrain.ts';
import { evalBatches, prepareData } from '../../data/index.ts';
import { bitsPerByte, scoreLanguageModel } from '../../evaluate/index.ts';
import { dispose } from '../../nn/index.ts';
import { settings, settingsOfArguments } from '../../settings/config.ts';
import { count, duration, loss } from '../format.ts';
import { loadRun } from '../load-run.ts';
import { here } from '../messages.ts';
import { stopOnSignals, turn } from '../signals.ts';
import type { Verb } from '../verb.ts';
import { rootFlag } from './runs.ts';

const keys = ['data', 'data.field', 'data.documents', 'data.encoding', 'data.encodingErrors', 'batch'] as const;

export const evaluate: Verb = {
  name: 'eval',
  about: {
    en: 'loss, perplexity, bits a byte on all validation data or another text',
    zh: '在全部验证数据或另一份文本上的损失、困惑度、比特/字节',
  },
  words: [{ name: 'RUN' }],
  settings: Object.fromEntries(keys.map((k) => [k, settings[k]])),
  flags: [
    {
      name: 'batches',
      takes: 'number',
      about: { en: 'at most so many micro-batches, spread evenly', zh: '最多这么多微批，均匀取样' },
    },
    rootFlag,
  ],
  examples: ['qkv eval demo-1', 'qkv eval demo-1@best --json', 'qkv eval demo-1 data=other.txt'],
  async run({ words: [spec], settings: given, flags }, out) {
    const run = loadRun(spec, { root: flags['root'] as string | undefined });
    const own = Object.fromEntries(settingsOfArguments(given).map((w) => [w.key, w.value]));
    const config = { ...run.config, ...own } as typeof run.config;
    const other = own['data'] !== undefined;
    // What training prepared is taken as it is; another text is prepared for this time only.
    const temporary = other ? await mkdtemp(join(tmpdir(), 'qkv-eval-')) : undefined;
    const folder = temporary ?? preparedFolder(config, run.tokenizer.vocabSize, join(dirname(run.folder), '.data'));
    const stop = stopOnSignals(() => {});
    const began = performance.now();
    try {
      const prepared = await prepareData({
        path: config.data,
        tokenizer: run.tokenizer,
        outDir: folder,
        // Another text is scored as a whole.
        valFraction: other ? 0 : config.valFraction,
        split: other ? 'tail' : config['data.split'],
        field: config['data.field'],
        documents: config['data.documents'],
        encoding: config['data.encoding'],
        encodingErrors: config['data.encodingErrors'] ?? undefined,
        maxRejected: config['data.maxRejected'],
      });
      try {
        const stream = other ? prepared.train : prepared.val;
        const counts = other ? prepared.manifest.train : prepared.manifest.val;
        const batches = flags['batches'] as number | undefined;
        const total = batches ?? Math.ceil(stream.length / config.contextLength / config.batch);
        let done = 0;
        let nats = 0;
        let scored = 0;
        const windows = evalBatches(stream, {
          batchSize: config.batch,
          contextLength: config.contextLength,
          maxWindows: batches === undefined ? undefined : batches * config.batch,
          split: other ? 'other' : 'validation',
        });
        for (const window of windows) {
          const part = await scoreLanguageModel(run.model, [window]);
          nats += part.lossNats * part.tokens;
          scored += part.tokens;
          out.live(`${Math.round((100 * ++done) / total)} %`);
          await turn();
          if (stop.asked) break;
        }
        const score = { lossNats: nats / scored, perplexity: Math.exp(nats / scored), tokens: scored };
        out.live('');
        const bits = bitsPerByte(score.lossNats, counts.tokens, counts.bytes);
        const seconds = (performance.now() - began) / 1000;
        const n = (x: number) => count(x, out.lang);
        out.answer(
          out.t({
            en: `${run.name}@${run.step}   loss ${loss(score.lossNats)} nats a token · perplexity ${score.perplexity.toFixed(2)} · ${bits.toFixed(3)} bits a byte`,
            zh: `${run.name}@${run.step}   损失 ${loss(score.lossNats)} nat/词元 · 困惑度 ${score.perplexity.toFixed(2)} · ${bits.toFixed(3)} 比特/字节`,
          }),
        );
        out.say(
          out.style(
            'dim',
            out.t({
              en: `${n(score.tokens)} tokens of ${here(config.data)}${other ? '' : ' (validation part)'} in ${duration(seconds, 'en')}. A uniform guess: ${Math.log(run.tokenizer.vocabSize).toFixed(3)}`,
              zh: `${here(config.data)}${other ? '' : '（验证部分）'} 的 ${n(score.tokens)} 个词元，用时 ${duration(seconds, 'zh')}。均匀猜测：${Math.log(run.tokenizer.vocabSize).toFixed(3)}`,
            }),
          ),
        );
        out.event({
          type: 'result',
          ok: true,
          run: run.name,
          step: run.step,
          data: config.data,
          lossNats: score.lossNats,
          perplexity: score.perplexity,
          bitsPerByte: bits,
          tokens: score.tokens,
          seconds,
          complete: !stop.asked && batches === undefined,
        });
      } finally {
        prepared.close();
      }
    } finally {
      stop.dispose();
      dispose(run.model);
      if (temporary) rmSync(temporary, { recursive: true, force: true });
    }
    return 0;
  },
};
