// From text to a decoder that writes: tokenizer, data, model, optimizer, run folder, and the loop that joins them.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TrainConfig } from '../settings/config.ts';
import {
  type Batch,
  createBatches,
  documents,
  endOfTextOf,
  evalBatches,
  listSources,
  type Manifest,
  prepareData,
  type Prepared,
  type Progress,
} from '../data/index.ts';
import { QkvError } from '../errors.ts';
import { bitsPerByte, scoreLanguageModel } from '../evaluate/index.ts';
import { generate } from '../generate/index.ts';
import {
  CheckpointError,
  CheckpointSaver,
  createRun,
  findCheckpoint,
  openRun,
  readControl,
  type Run,
  type Saved,
} from '../io/index.ts';
import { buildDecoder, type Decoder } from '../models/index.ts';
import { dispose, parameterCount, stateDict } from '../nn/index.ts';
import { backend, memory, setPrecision } from '../tensor/index.ts';
import {
  byteTokenizer,
  charTokenizer,
  decodeStream,
  type Tokenizer,
  tokenizerFromJson,
  tokenizerToJson,
  trainBpe,
} from '../tokenizers/index.ts';
import { AdamW, cosine, linearDecay, type Schedule, train, wsd } from '../train/index.ts';
import { loadWeights } from '../io/model-weights.ts';
import { checkpointFiles, loadTrainer, type TrainerState } from './checkpointing.ts';

export interface PretrainOptions {
  config: TrainConfig;
  /** Folder of all runs. */
  root?: string;
  /** Name of a new run; with `resume`, of the run to go on with. */
  name: string;
  resume?: boolean;
  /** Versions and the like, for env.json. */
  env?: object;
  /** Asked between steps and evaluation batches: true saves and ends the run. */
  stopped?: () => boolean;
  now?: () => number;
}

/** What happens while a run trains, for whoever shows it. The log holds the same. */
export type TrainEvent =
  | { type: 'tokenizer'; kind: string; merges: number; of: number }
  | { type: 'data'; progress: Progress }
  | {
      type: 'start';
      run: string;
      folder: string;
      /** Step to begin with: 0, or where the checkpoint stands. */
      step: number;
      parameters: number;
      vocabSize: number;
      trainTokens: number;
      valTokens: number;
      data: Manifest;
      /** ln V: the loss of a uniform guess. */
      uniformLossNats: number;
      backend: string;
      /** Checkpoints that a resume passed over, and why. */
      skipped: { folder: string; why: string }[];
    }
  | {
      type: 'step';
      step: number;
      steps: number;
      lossNats: number;
      gradNorm: number;
      lr: number;
      /** Tokens of this step ÷ its time, evaluation and saving left out. */
      tokensPerSecond: number;
      /** Since this process began to train. */
      elapsedSeconds: number;
      remainingSeconds: number;
    }
  | {
      type: 'eval';
      step: number;
      trainLossNats: number;
      valLossNats: number;
      perplexity: number;
      bitsPerByte: number;
      best: boolean;
    }
  | { type: 'sample'; step: number; prompt: string; text: string }
  | { type: 'checkpoint'; step: number; folder: string; bytes: number; best: boolean; durable: boolean }
  | { type: 'warning'; code: string; message: string; values: Record<string, unknown> }
  | {
      type: 'end';
      status: 'done' | 'stopped';
      step: number;
      run: string;
      folder: string;
      seconds: number;
      tokens: number;
      tokensPerSecond: number;
      best?: { step: number; lossNats: number };
      lastLossNats: number;
      firstLossNats: number;
      peakTensorBytes: number;
    };

/** The tokenizer that the settings ask for: made from the data, or read from a tokenizer.json. */
export async function* tokenizerFor(config: TrainConfig): AsyncGenerator<TrainEvent, Tokenizer> {
  const { tokenizer: kind, data, vocabSize, pattern } = config;
  const text = {
    field: config['data.field'],
    documents: config['data.documents'],
    encoding: config['data.encoding'],
    encodingErrors: config['data.encodingErrors'] ?? undefined,
  };
  if (kind === 'byte') return byteTokenizer();
  if (kind === 'char') {
    const characters = new Set<string>(['\n']);
    for await (const piece of documents(await listSources(data), text)) for (const c of piece.text) characters.add(c);
    return charTokenizer([...characters].sort());
  }
  if (kind === 'bpe') {
    const sample: string[] = [];
    let room = 64 * 2 ** 20; // characters; beyond that the merges hardly change
    for await (const piece of documents(await listSources(data), text)) {
      sample.push(piece.text);
      if ((room -= piece.text.length) <= 0) break;
    }
    yield { type: 'tokenizer', kind, merges: 0, of: vocabSize };
    const trained = trainBpe(sample, { vocabSize, pattern, specialTokens: ['<|endoftext|>'] });
    yield { type: 'tokenizer', kind, merges: trained.vocabSize, of: vocabSize };
    return trained;
  }
  return readTokenizer(kind);
}

/** @throws QkvError E182 where there is no such file, TOKENIZER where it cannot be one */
export function readTokenizer(path: string): Tokenizer {
  let json: string;
  try {
    json = readFileSync(path, 'utf8');
  } catch (error) {
    throw new QkvError(
      'E182',
      `tokenizer="${path}" is neither char, byte nor bpe, nor a file that can be read (${(error as NodeJS.ErrnoException).code})`,
      { path },
    );
  }
  return tokenizerFromJson(json);
}

/** Trains a decoder as the settings say, in a run folder, and tells what happens. Killed at any moment, it goes on from its last checkpoint, bit for bit. */
export async function* pretrain({
  config,
  root = 'runs',
  name,
  resume = false,
  env = {},
  stopped = () => false,
  now = () => performance.now(),
}: PretrainOptions): AsyncGenerator<TrainEvent, void> {
  setPrecision(config.precision);
  const found = resume ? resumePoint(root, name) : undefined;
  const tokenizer = found ? readTokenizer(join(found.folder, 'tokenizer.json')) : yield* tokenizerFor(config);
  const tokenizerJson = tokenizerToJson(tokenizer);

  const prepared = yield* prepare(config, tokenizer, join(root, '.data'));
  let run: Run | undefined;
  const made: object[] = [];
  try {
    const { train: trainStream, val: valStream, manifest } = prepared;
    const batches = createBatches(trainStream, {
      batchSize: config.batch,
      contextLength: config.contextLength,
      seed: config.seed,
      order: config.order,
    });
    if (config.contextLength + 1 > valStream.length) evalBatches(valStream, evalOptions(config)).next(); // says what is too short before anything starts

    const model = buildDecoder(config, tokenizer.vocabSize);
    made.push(model);
    const { beta1, beta2, eps, weightDecay } = config;
    const optimizer = new AdamW(stateDict(model), { beta1, beta2, eps, weightDecay });
    made.push({ [Symbol.dispose]: () => optimizer.dispose() });
    let state: TrainerState = { format: 1, step: 0, cursor: 0, tokens: 0 };
    if (found) {
      loadWeights(found.folder, config.model, model);
      state = loadTrainer(found.folder, optimizer);
    }
    run = resume
      ? openRun(name, { root, step: state.step })
      : createRun({ root, name, config, env: { ...env, data: manifest.key } });
    yield {
      type: 'start',
      run: run.name,
      folder: run.folder,
      step: state.step,
      parameters: parameterCount(model),
      vocabSize: tokenizer.vocabSize,
      trainTokens: trainStream.length,
      valTokens: valStream.length,
      data: manifest,
      uniformLossNats: Math.log(tokenizer.vocabSize),
      backend: backend().name,
      skipped: found?.skipped ?? [],
    };
    yield* new Pretraining(
      config,
      run,
      model,
      optimizer,
      tokenizer,
      tokenizerJson,
      prepared,
      batches.at,
      state,
      stopped,
      now,
    ).events();
  } catch (error) {
    run?.end('failed', { error: error instanceof QkvError ? error.code : String(error) });
    throw error;
  } finally {
    prepared.close();
    for (const m of made) dispose(m);
  }
}

function resumePoint(root: string, name: string) {
  const found = findCheckpoint(join(root, name));
  if (!found) throw new QkvError('E152', `run "${name}" has no checkpoint yet; start it again without --resume`, { name });
  return found;
}

/** The folder inside `folder` for the token streams of these settings: a run, a later one and an evaluation find the same. */
export function preparedFolder(config: TrainConfig, vocabSize: number, folder: string): string {
  const word = (text: string, length: number) => text.replace(/[^\p{L}\p{N}]+/gu, '-').slice(-length);
  return join(folder, `${word(config.data, 40)}-${word(config.tokenizer, 20)}-${vocabSize}`);
}

/** Token streams, made once and taken as they are by later runs on the same data, tokenizer and settings. */
async function* prepare(config: TrainConfig, tokenizer: Tokenizer, folder: string): AsyncGenerator<TrainEvent, Prepared> {
  const queue: Progress[] = [];
  const prepared = await prepareData({
    path: config.data,
    tokenizer,
    outDir: preparedFolder(config, tokenizer.vocabSize, folder),
    valFraction: config.valFraction,
    split: config['data.split'],
    field: config['data.field'],
    documents: config['data.documents'],
    encoding: config['data.encoding'],
    encodingErrors: config['data.encodingErrors'] ?? undefined,
    maxRejected: config['data.maxRejected'],
    onProgress: (p) => queue.push(p),
  });
  const last = queue.at(-1);
  if (last) yield { type: 'data', progress: last };
  return prepared;
}

const evalOptions = (config: TrainConfig) => ({
  batchSize: config.batch,
  contextLength: config.contextLength,
  maxWindows: config.evalBatches * config.batch,
});

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
class Pretraining {
  #first = Number.NaN;
  #last = Number.NaN;
  #worse = 0;
  #control: string | undefined;
  #started = 0;
  #busySeconds = 0;
  #savedStep = -1;
  readonly #saver: CheckpointSaver;

  constructor(
    readonly config: TrainConfig,
    readonly run: Run,
    readonly model: Decoder,
    readonly optimizer: AdamW,
    readonly tokenizer: Tokenizer,
    readonly tokenizerJson: string,
    readonly data: Prepared,
    readonly batchAt: (cursor: number) => Batch,
    readonly state: TrainerState,
    readonly stopped: () => boolean,
    readonly now: () => number,
  ) {
    this.#saver = new CheckpointSaver({ runFolder: run.folder, runId: run.runId, configHash: run.configHash, keep: config.keep });
    this.#control = readControl(run.folder)?.id;
  }

  async *events(): AsyncGenerator<TrainEvent, void> {
    const { config, model, state } = this;
    const { steps, batch, accumulate, contextLength, lr: peak, minLr: final, warmup, clip, seed } = config;
    const tokensPerStep = batch * accumulate * contextLength;
    const from = state.step;
    this.#started = this.now();
    let mark = this.now();
    let interval = { steps: 0, seconds: 0 };
    const loop = train(model, {
      from,
      steps,
      batch: (step, micro) => this.batchAt((step * accumulate + micro) * batch),
      loss: (b: Batch, rng) => model.loss(b, config.dropout > 0 ? { rng } : {}),
      optimizer: this.optimizer,
      schedule: schedules[config.schedule]({ peak, final, warmup, steps }),
      clip,
      accumulate,
      seed,
    });
    for await (const { step, lossNats, gradNorm, lr } of loop) {
      const seconds = (this.now() - mark) / 1000;
      this.#busySeconds += seconds;
      interval = { steps: interval.steps + 1, seconds: interval.seconds + seconds };
      state.step = step + 1;
      state.cursor = (step + 1) * accumulate * batch;
      state.tokens += tokensPerStep;
      if (Number.isNaN(this.#first)) this.#first = lossNats;
      this.#last = lossNats;
      yield this.#note({
        type: 'step',
        step: state.step,
        steps,
        lossNats,
        gradNorm,
        lr,
        tokensPerSecond: tokensPerStep / seconds,
        elapsedSeconds: (this.now() - this.#started) / 1000,
        remainingSeconds: ((steps - state.step) * this.#busySeconds) / (state.step - from),
      });
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
      mark = this.now();
    }
    if (this.#savedStep !== state.step && state.step > from) yield* this.#save(false);
    yield this.#end('done');
  }

  #note<E extends TrainEvent>(event: E): E {
    if (event.type !== 'tokenizer' && event.type !== 'data' && event.type !== 'start' && event.type !== 'end') {
      const { type, ...fields } = event as Record<string, unknown> & {
        type: 'step' | 'eval' | 'sample' | 'checkpoint' | 'warning';
      };
      this.run.log.append({ type: type === 'warning' ? 'alert' : type, ...fields });
    }
    return event;
  }

  /** What a signal or control.json wants. */
  #asked(): 'stop' | 'checkpoint' | undefined {
    if (this.stopped()) return 'stop';
    const control = readControl(this.run.folder);
    if (!control || control.id === this.#control) return undefined;
    this.#control = control.id;
    return control.action === 'stop' || control.action === 'checkpoint' ? control.action : undefined;
  }

  async *#evaluate(): AsyncGenerator<TrainEvent, void> {
    const { config, state, model, data } = this;
    const { lossNats: valLossNats, perplexity } = await scoreLanguageModel(model, evalBatches(data.val, evalOptions(config)), {
      stop: this.stopped,
    });
    const { tokens, bytes } = data.manifest.val;
    const best = state.best === undefined || valLossNats < state.best.lossNats;
    if (best) state.best = { step: state.step, lossNats: valLossNats };
    yield this.#note({
      type: 'eval',
      step: state.step,
      trainLossNats: this.#last,
      valLossNats,
      perplexity,
      bitsPerByte: bitsPerByte(valLossNats, tokens, bytes),
      best,
    });
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
    const { config, tokenizer, model, data, state } = this;
    const prompt = config.samplePrompt ?? tokenizer.decode(data.val.read(0, Math.min(8, data.val.length)));
    const ids = [...tokenizer.encode(prompt)];
    if (ids.length === 0) return;
    const stream = decodeStream(tokenizer);
    const stopIds = [endOfTextOf(tokenizer)].filter((id) => id !== undefined);
    let text = '';
    for await (const id of generate(model, ids, {
      maxTokens: config.sampleTokens,
      temperature: 0.8,
      topK: 50,
      seed: config.seed + state.step,
      stopIds,
    }))
      text += stream.push(id);
    yield this.#note({ type: 'sample', step: state.step, prompt, text: text + stream.end() });
  }

  *#save(best: boolean): Generator<TrainEvent, void> {
    const { config, model, optimizer, state, tokenizer, run } = this;
    if (this.#savedStep === state.step) return;
    run.log.sync();
    const files = checkpointFiles(config, model, optimizer, state, this.tokenizerJson, endOfTextOf(tokenizer));
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
    const { state, run } = this;
    const seconds = (this.now() - this.#started) / 1000;
    this.run.end(status, { step: state.step });
    return {
      type: 'end',
      status,
      step: state.step,
      run: run.name,
      folder: run.folder,
      seconds,
      tokens: state.tokens,
      tokensPerSecond: state.tokens / this.#busySeconds,
      best: state.best,
      lastLossNats: this.#last,
      firstLossNats: this.#first,
      peakTensorBytes: memory.peakBytes,
    };
  }
}
