/** `qkv train`: from text to a run that writes, or on with a run that stopped. */
import { existsSync, statfsSync } from 'node:fs';
import { dirname, join, resolve as resolvePath } from 'node:path';
import { pretrain, type TrainEvent } from '../../applications/pretrain.ts';
import { QkvError } from '../../errors.ts';
import { findCheckpoint, stepName } from '../../io/checkpoint.ts';
import { settings, type TrainConfig } from '../../settings/config.ts';
import { startProfile } from '../../tensor/index.ts';
import { memoryOf, parametersOf, secondsFor } from '../estimate.ts';
import { bytes, count } from '../format.ts';
import { availableMemory, backendInfo, chooseBackend, machine, trainingFlops } from '../machine.ts';
import { isCode } from '../messages/index.ts';
import { profileTable } from '../profile-table.ts';
import { begun, resumed } from '../run-settings.ts';
import { stopOnSignals, turn } from '../signals.ts';
import { TrainScreen } from '../train-screen.ts';
import { version } from '../version.ts';
import type { Verb } from '../verb.ts';
import { checkMemory, vocabularyOf } from './estimate.ts';
import { rootFlag } from './runs.ts';

export const train: Verb = {
  name: 'train',
  about: {
    en: 'trains a model of any family on text or pairs, fine-tunes one, or goes on with a run',
    zh: '在文本或成对数据上训练任一家族的模型、微调，或接着训练',
  },
  words: [{ name: 'CONFIG-or-RUN', optional: true }],
  settings,
  flags: [
    { name: 'resume', about: { en: 'go on with RUN from its newest sound checkpoint', zh: '从 RUN 最新的完好检查点继续' } },
    { name: 'anyway', about: { en: 'start although memory or disk look too small', zh: '内存或磁盘看起来不够也开始' } },
    {
      name: 'profile',
      about: { en: 'say at the end where the time went, kernel by kernel', zh: '结束时按内核列出时间花在哪里' },
    },
    rootFlag,
  ],
  examples: [
    'qkv train',
    'qkv train data=book.txt',
    'qkv train qkv.json nLayer=6 lr=6e-4',
    'qkv train data=book.txt model=bert tokenizer=wordpiece',
    'qkv train data=book.txt model=electra tokenizer=wordpiece',
    'qkv train data=train.en data.targetFile=train.de model=transformer',
    'qkv train data=pairs.tsv objective=prefix',
    'qkv train data=pairs.tsv model=bert objective=contrastive tokenizer=wordpiece',
    'qkv train data=book.txt from=gpt2-folder',
    'qkv train demo-1 --resume',
    'qkv train runs/demo-1/config.json seed=2',
  ],
  async run(args, out) {
    const runs = (args.flags['root'] as string | undefined) ?? 'runs';
    const resume = Boolean(args.flags['resume']);
    const { config, name, root } = resume ? resumed(args, runs, out) : { ...(await begun(args, runs, out)), root: runs };
    chooseBackend(config);
    const anyway = Boolean(args.flags['anyway']);
    const screen = new TrainScreen(out);
    let started = false;
    const preparing = new AbortController();
    const onSignal = () => {
      out.live('');
      if (started)
        out.say(
          out.t({
            en: 'Stopping: saving first. Ctrl-C again stops at once.',
            zh: '正在停止：先保存。再按一次 Ctrl-C 立即停止。',
          }),
        );
      preparing.abort(stoppedEarly);
    };
    let stop = stopOnSignals(onSignal);
    try {
      const backend = backendInfo();
      if (backend.name === 'none')
        throw new QkvError('E191', `the native back-end does not load: ${backend.reason}`, { reason: backend.reason });
      if (config.backend === 'native' && backend.name !== 'native')
        throw new QkvError('E191', backend.reason, { reason: backend.reason });
      if (backend.name !== 'native') out.message('W201', { reason: backend.reason });
      const vocabSize = await vocabularyOf(config, preparing.signal);
      if (checkMemory(config, vocabSize, { anyway }))
        out.message('W202', { needed: memoryOf(config, vocabSize).total, available: availableMemory() });
      if (!anyway) checkDisk(config, vocabSize, root);

      const { node, platform, cpu } = machine();
      const env = {
        qkv: version(),
        node,
        platform,
        cpu,
        seed: config.seed,
        backend: backend.name,
        isa: backend.isa,
        threads: backend.threads,
      };
      const profile = args.flags['profile'] ? startProfile() : undefined;
      let lastLr = config.lr;
      let prompt = config.samplePrompt ?? '';
      let first = true;
      let parameters = 0;
      let expected = 0;
      const { signal } = preparing;
      for await (const event of pretrain({ config, name, root, resume, env, signal, stopped: () => stop.asked })) {
        switch (event.type) {
          case 'tokenizer':
            // Learning holds this thread: until it is done a signal ends the process at once, as there is nothing to save.
            if (event.merges === 0) stop.dispose();
            else stop = stopOnSignals(onSignal);
            out.live(
              event.merges === 0
                ? out.t({
                    en: `learning a vocabulary of ${count(event.of, 'en')} …`,
                    zh: `正在学习 ${count(event.of, 'zh')} 项的词表…`,
                  })
                : '',
            );
            break;
          case 'data':
            out.live('');
            break;
          case 'start':
            started = true;
            ({ parameters, uniformLossNats: expected } = event);
            startScreen(screen, event, config, backend);
            for (const passed of event.skipped) out.message('W222', passed);
            break;
          case 'step':
            lastLr = event.lr;
            screen.step(event);
            if (first && event.step === 1 && config.from === null) {
              if (Math.abs(event.lossNats - expected) > 0.15 * expected) out.message('W203', { loss: event.lossNats, expected });
            }
            first = false;
            await turn();
            break;
          case 'eval': {
            const speed = screen.evaluation({ ...event, lossNats: event.valLossNats }, lastLr);
            out.event({ ...event, ...speed });
            continue;
          }
          case 'sample':
            prompt = event.prompt;
            screen.sample(event);
            break;
          case 'checkpoint':
            screen.pause();
            break;
          case 'warning':
            if (isCode(event.code)) out.message(event.code, { message: event.message, ...event.values } as never);
            else out.say(out.style('yellow', event.message));
            continue;
          case 'end':
            screen.done(
              { step: event.step, status: event.status, best: event.best },
              { name: event.run, folder: event.folder, prompt: prompt || out.t({ en: 'The', zh: '从前' }) },
            );
            if (profile) {
              const spent = profile();
              out.say(profileTable(spent, out));
              out.event({ type: 'profile', ...spent });
            }
            out.event({ ...event, type: 'result', ok: true, parameters });
            continue;
        }
        out.event(event);
      }
      return 0;
    } catch (error) {
      out.live('');
      if (error === stoppedEarly) {
        out.say(
          out.t({ en: 'Stopped before the first step; there was nothing to save.', zh: '在第一步之前停止；没有要保存的。' }),
        );
        out.event({ type: 'result', ok: false, status: 'stopped', step: 0 });
        return 130;
      }
      throw told(error, config, name, root);
    } finally {
      stop.dispose();
    }
  },
};

/** The reason of a stop while data is prepared. */
const stoppedEarly = new Error('stopped before the first step');

/** keep + 1 checkpoints and the best one lie on the disk while the newest is written; each holds weights and two moments. */
function checkDisk(config: TrainConfig, vocabSize: number, root: string): void {
  const checkpoints = config.keep + 2;
  const needed = checkpoints * 12 * parametersOf(config, vocabSize).total;
  let folder = resolvePath(root);
  while (!existsSync(folder)) folder = dirname(folder);
  const { bavail, bsize } = statfsSync(folder);
  if (needed > bavail * bsize) {
    throw new QkvError('E122', `${bytes(needed)} for ${checkpoints} checkpoints, ${bytes(bavail * bsize)} free`, {
      needed,
      free: bavail * bsize,
      checkpoints,
      folder,
    });
  }
}

function startScreen(
  screen: TrainScreen,
  event: Extract<TrainEvent, { type: 'start' }>,
  config: TrainConfig,
  backend: ReturnType<typeof backendInfo>,
): void {
  const counts = event.data?.train;
  const left = (config.steps - event.step) / config.steps;
  screen.start({
    name: event.run,
    folder: event.folder,
    config,
    vocabSize: event.vocabSize,
    parameters: event.parameters,
    dialogues: event.data?.dialogues !== undefined,
    trainTokens: event.trainTokens,
    valTokens: event.valTokens,
    charactersPerToken: counts && counts.tokens > 0 ? counts.characters / counts.tokens : undefined,
    pairs: event.pairs,
    memory: memoryOf(config, event.vocabSize),
    seconds: left * secondsFor(config, event.vocabSize, trainingFlops(config.precision === 'bf16')),
    backend,
    resumedFrom: event.step > 0 ? event.step : undefined,
  });
}

/** An error as the person who started this run can use it: with the run's name, its last good checkpoint, and what to try. */
function told(error: unknown, config: TrainConfig, name: string, root: string): unknown {
  if (!(error instanceof QkvError) || error.code !== 'E140') return error;
  const folder = join(root, name);
  let lastGood: string | undefined;
  try {
    const found = findCheckpoint(folder);
    lastGood = found && join(folder, stepName(found.step));
  } catch {
    // all damaged: then there is none
  }
  return new QkvError('E140', error.message, { ...error.values, run: name, lastGood, lr: config.lr });
}
