// A run while it trains: steps, evaluations, samples and checkpoints in their order, each told as it happens and written to the log.

import { CheckpointError, type CheckpointFile, CheckpointSaver, readControl, type Run, type Saved } from '../io/index.ts';
import type { TrainConfig } from '../settings/index.ts';
import { memory } from '../tensor/index.ts';
import { type AdamW, cosine, linearDecay, type Schedule, train, wsd } from '../train/index.ts';
import { checkpointFiles, type TrainerState } from './checkpointing.ts';
import type { TrainEvent } from './events.ts';
import type { AnyModel, NamedIds } from './model-folder.ts';
import type { Task } from './tasks/task.ts';

export interface TrainingRunOptions {
  config: TrainConfig;
  run: Run;
  any: AnyModel;
  task: Task;
  optimizer: AdamW;
  /** Where it begins; it moves on as the run does. */
  state: TrainerState;
  /** The bytes of tokenizer.json, and the ids that config.json names. */
  tokenizerJson: string;
  ids: NamedIds;
  /** Further files of each checkpoint. */
  others?: readonly CheckpointFile[];
  stopped: () => boolean;
  now: () => number;
}

const schedules = {
  cosine,
  linear: linearDecay,
  wsd,
  constant:
    (o: { peak: number; warmup: number }): Schedule =>
    (step) =>
      Math.min(1, (step + 1) / Math.max(1, o.warmup)) * o.peak,
};

/** One run while it trains. */
export class TrainingRun {
  #first = Number.NaN;
  #last = Number.NaN;
  #worse = 0;
  #control: string | undefined;
  #started = 0;
  #busySeconds = 0;
  /** Of this process; the state counts those before it, too. */
  #tokens = 0;
  #savedStep = -1;
  readonly #saver: CheckpointSaver;

  constructor(readonly o: TrainingRunOptions) {
    const { run, config } = o;
    this.#saver = new CheckpointSaver({ runFolder: run.folder, runId: run.runId, configHash: run.configHash, keep: config.keep });
    this.#control = readControl(run.folder)?.id;
  }

  async *events(): AsyncGenerator<TrainEvent, void> {
    const { config, any, task, state, optimizer, now } = this.o;
    const { steps, accumulate, lr: peak, minLr: final, warmup, clip, seed, dropout, labelSmoothing } = config;
    const random = dropout > 0 || labelSmoothing > 0 || config.model === 'mixtral'; // what teaches and does not measure
    const from = state.step;
    this.#started = now();
    let mark = now();
    let tokens = 0;
    const loop = train(any.model, {
      from,
      steps,
      batch: (step, micro) => {
        const batch = task.at(step * accumulate + micro);
        tokens += task.tokensIn(batch);
        return batch;
      },
      loss: (batch, rng) => task.loss(batch, random ? { rng } : {}),
      optimizer,
      schedule: schedules[config.schedule]({ peak, final, warmup, steps }),
      clip,
      accumulate,
      seed,
      // A turn of the event loop, in which signals are heard, also where the backend answers at once.
      stopped: () => new Promise((done) => setImmediate(() => done(this.o.stopped()))),
    });
    for await (const { step, lossNats, gradNorm, lr } of loop) {
      const seconds = (now() - mark) / 1000;
      this.#busySeconds += seconds;
      state.step = step + 1;
      state.cursor = (step + 1) * accumulate * config.batch;
      state.tokens += tokens;
      this.#tokens += tokens;
      if (Number.isNaN(this.#first)) this.#first = lossNats;
      this.#last = lossNats;
      yield this.#note({
        type: 'step',
        step: state.step,
        steps,
        lossNats,
        gradNorm,
        lr,
        tokens,
        tokensPerSecond: tokens / seconds,
        elapsedSeconds: (now() - this.#started) / 1000,
        remainingSeconds: ((steps - state.step) * this.#busySeconds) / (state.step - from),
      });
      tokens = 0;
      const asked = this.#asked();
      const last = state.step === steps;
      const evaluates = last || (config.evalEvery > 0 && state.step % config.evalEvery === 0);
      if (evaluates && asked !== 'stop') yield* this.#evaluate();
      if ((last || (config.sampleEvery > 0 && state.step % config.sampleEvery === 0)) && asked !== 'stop') yield* this.#sample();
      if (last || asked === 'checkpoint' || asked === 'stop' || (config.saveEvery > 0 && state.step % config.saveEvery === 0))
        yield* this.#save(false);
      if (asked === 'stop' && !last) {
        yield this.#end('stopped');
        return;
      }
      mark = now();
    }
    // Here a step may have been given up; a run that has not taken one has something to go on from, too.
    if (this.#savedStep !== state.step && (state.step > from || from === 0)) yield* this.#save(false);
    yield this.#end(state.step === steps ? 'done' : 'stopped');
  }

  #note<E extends TrainEvent>(event: E): E {
    if (event.type !== 'tokenizer' && event.type !== 'data' && event.type !== 'start' && event.type !== 'end') {
      const { type, ...fields } = event as Record<string, unknown> & {
        type: 'step' | 'eval' | 'sample' | 'checkpoint' | 'warning';
      };
      this.o.run.log.append({ type: type === 'warning' ? 'alert' : type, ...fields });
    }
    return event;
  }

  /** What a signal or control.json wants. */
  #asked(): 'stop' | 'checkpoint' | undefined {
    if (this.o.stopped()) return 'stop';
    const control = readControl(this.o.run.folder);
    if (!control || control.id === this.#control) return undefined;
    this.#control = control.id;
    return control.action === 'stop' || control.action === 'checkpoint' ? control.action : undefined;
  }

  async *#evaluate(): AsyncGenerator<TrainEvent, void> {
    const { config, state, task, stopped } = this.o;
    const { lossNats: valLossNats, tokens: _, ...rest } = await task.evaluate({ batches: config.evalBatches, stop: stopped });
    const best = state.best === undefined || valLossNats < state.best.lossNats;
    if (best) state.best = { step: state.step, lossNats: valLossNats };
    yield this.#note({ type: 'eval', step: state.step, trainLossNats: this.#last, valLossNats, ...rest, best });
    this.#worse = best ? 0 : this.#worse + 1;
    if (this.#worse === 5) {
      const { step, lossNats } = state.best!;
      yield this.#note({
        type: 'warning',
        code: 'W210',
        message: `validation loss has not improved for 5 evaluations: overfitting. Best point: step ${step} (saved)`,
        values: { from: lossNats, to: valLossNats, bestStep: step, times: 5 },
      });
    }
    if (best && config.saveEvery > 0) yield* this.#save(true);
  }

  async *#sample(): AsyncGenerator<TrainEvent, void> {
    const { config, task, state } = this.o;
    const seed = config.seed + state.step;
    const sample = await task.sample({ seed, maxTokens: config.sampleTokens, prompt: config.samplePrompt ?? undefined });
    if (sample) yield this.#note({ type: 'sample', step: state.step, ...sample });
  }

  *#save(best: boolean): Generator<TrainEvent, void> {
    const { any, optimizer, state, tokenizerJson, ids, others, run } = this.o;
    if (this.#savedStep === state.step) return;
    run.log.sync();
    const files = checkpointFiles(any, optimizer, state, tokenizerJson, ids, others);
    const pinned = state.best ? [state.best.step] : [];
    const saved: Saved | CheckpointError = this.#saver.save(state.step, files, { pinned });
    if (saved instanceof CheckpointError) {
      yield this.#note({ type: 'warning', code: 'W220', message: saved.message, values: { detail: saved.detail } });
      return;
    }
    this.#savedStep = state.step;
    yield this.#note({
      type: 'checkpoint',
      step: state.step,
      folder: saved.folder,
      bytes: saved.bytes,
      best: best || state.best?.step === state.step,
      durable: saved.durable,
    });
    for (const message of saved.warnings) yield this.#note({ type: 'warning', code: 'W221', message, values: {} });
  }

  #end(status: 'done' | 'stopped'): TrainEvent {
    const { state, run, now } = this.o;
    const seconds = (now() - this.#started) / 1000;
    run.end(status, { step: state.step });
    return {
      type: 'end',
      status,
      step: state.step,
      run: run.name,
      folder: run.folder,
      seconds,
      tokens: state.tokens,
      tokensPerSecond: this.#tokens / this.#busySeconds,
      best: state.best,
      lastLossNats: this.#last,
      firstLossNats: this.#first,
      peakTensorBytes: memory.peakBytes,
    };
  }
}
