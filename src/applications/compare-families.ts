// The same pairs, the same batches, about as many parameters: what recurrent cells, convolutions and attention make of them.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TrainConfig } from '../settings/index.ts';
import { tokenizerToJson } from '../tokenizers/index.ts';
import { type Answers, answersOf } from './answers.ts';
import { copyLagCurve, type CopyLagOptions, type LagAccuracy } from './copy-lag.ts';
import type { TrainEvent } from './events.ts';
import { loadModel } from './model-folder.ts';
import { pretrain } from './pretrain.ts';
import { readTokenizer, tokenizerFor } from './tokenizer.ts';
import { dispose } from '../nn/index.ts';

/**
 * Who takes part: encoder-decoders, by what stands between source and target, each at the peak learning rate that suited it best in a sweep over 600 steps
 * (docs/training.md). The Transformer is pre-norm: after each sum, as in 2017, it asks for more steps than this.
 */
export const contestants = {
  'rnn-none': { model: 'rnn', attention: 'none', lr: 5e-3 },
  'rnn-additive': { model: 'rnn', attention: 'additive', lr: 5e-3 },
  'rnn-general': { model: 'rnn', attention: 'general', lr: 5e-3 },
  conv: { model: 'conv', lr: 4e-3 },
  transformer: { model: 'transformer', preNorm: true, lr: 4e-3 },
} as const satisfies Record<string, Partial<TrainConfig>>;
export type Contestant = keyof typeof contestants;

export interface CompareOptions {
  /** Each contestant's whole settings, alike but for the family and its shape. */
  configs: ReadonlyMap<Contestant, TrainConfig>;
  seeds: readonly number[];
  /** A new folder: a run for each contestant and seed, outputs, tokenizer.json. */
  folder: string;
  /** Validation sources that are answered. */
  answers: number;
  /** Undefined: no copy-lag curves. `configs`: who copies, all contestants when left out. */
  copyLag?: CopyLagOptions & { configs?: ReadonlyMap<Contestant, TrainConfig> };
  env?: object;
  stopped?: () => boolean;
  signal?: AbortSignal;
}

/** What one training of one contestant gave. */
export interface Outcome {
  contestant: Contestant;
  seed: number;
  parameters: number;
  /** Time that training on all pairs once takes. */
  secondsPerEpoch: number;
  tokensPerSecond: number;
  tokens: number;
  /** Mean over the last tenth of the steps. */
  trainLossNats: number;
  valLossNats: number;
  valCurve: { step: number; lossNats: number }[];
  /** Share of answers that are the target exactly, and the file that holds them. */
  exactMatch: number;
  hypotheses: string;
  run: string;
}

export type CompareEvent =
  | { type: 'training'; contestant: Contestant; seed: number; event: TrainEvent }
  | { type: 'answering'; contestant: Contestant; seed: number; done: number; of: number }
  | { type: 'copying'; contestant: Contestant; step: number; of: number }
  | { type: 'outcome'; outcome: Outcome }
  | { type: 'lags'; contestant: Contestant; curve: LagAccuracy[] };

/**
 * Trains every contestant with every seed, lets it answer, and measures how far back it can look. Sources, references and each one's answers lie in `folder`
 * line by line, as BLEU wants them. All use one tokenizer, made from the data, and see the same batches in the same order.
 */
export async function* compareFamilies(o: CompareOptions): AsyncGenerator<CompareEvent, void> {
  const { configs, seeds, folder, stopped = () => false } = o;
  mkdirSync(folder, { recursive: true });
  const [first] = configs.values();
  const making = tokenizerFor({ ...first, objective: 'pairs' }, o.signal);
  let made = await making.next();
  while (!made.done) made = await making.next();
  const tokenizer = join(folder, 'tokenizer.json');
  writeFileSync(tokenizer, tokenizerToJson(made.value));
  for (const seed of seeds) {
    for (const [contestant, config] of configs) {
      const name = `${contestant}-${seed}`;
      const settings: TrainConfig = { ...config, objective: 'pairs', tokenizer, seed };
      const outcome = yield* trainOne({ ...o, contestant, name, config: settings });
      if (!outcome) return;
      yield { type: 'outcome', outcome };
    }
  }
  if (o.copyLag === undefined) return;
  for (const [contestant, config] of o.copyLag.configs ?? configs) {
    const steps = o.copyLag.steps ?? 300;
    const queue: number[] = [];
    const running = copyLagCurve(config, { ...o.copyLag, onStep: (step) => void queue.push(step) });
    for (;;) {
      const curve = await Promise.race([running, new Promise<undefined>((done) => setTimeout(() => done(undefined), 200))]);
      if (curve) {
        yield { type: 'lags', contestant, curve };
        break;
      }
      yield { type: 'copying', contestant, step: queue.at(-1) ?? 0, of: steps };
    }
    if (stopped()) return;
  }
}

async function* trainOne(
  o: CompareOptions & { contestant: Contestant; name: string; config: TrainConfig },
): AsyncGenerator<CompareEvent, Outcome | undefined> {
  const { contestant, name, config, folder, env, signal, stopped } = o;
  const { seed, steps, batch, accumulate } = config;
  const losses: number[] = [];
  const valCurve: Outcome['valCurve'] = [];
  let [parameters, pairs, checkpoint, seconds, tokens] = [0, 0, '', 0, 0];
  for await (const event of pretrain({ config, name, root: folder, env, signal, stopped })) {
    yield { type: 'training', contestant, seed, event };
    if (event.type === 'start') {
      parameters = event.parameters;
      pairs = event.pairs!.train;
    }
    if (event.type === 'step') {
      losses.push(event.lossNats);
      seconds += event.tokens / event.tokensPerSecond;
      tokens += event.tokens;
    }
    if (event.type === 'eval') valCurve.push({ step: event.step, lossNats: event.valLossNats });
    if (event.type === 'checkpoint') checkpoint = event.folder;
  }
  if (stopped?.()) return undefined; // half a training is no outcome
  const answers = yield* answersTo({ ...o, checkpoint });
  const last = losses.slice(-Math.max(1, Math.floor(steps / 10)));
  return {
    contestant,
    seed,
    parameters,
    secondsPerEpoch: (seconds / Math.max(1, losses.length)) * (pairs / (batch * accumulate)),
    tokensPerSecond: tokens / seconds,
    tokens,
    trainLossNats: last.reduce((a, b) => a + b, 0) / last.length,
    valLossNats: valCurve.at(-1)?.lossNats ?? Number.NaN,
    valCurve,
    exactMatch: answers.exact / Math.max(1, answers.rows.length),
    hypotheses: `${name}.hyp.txt`,
    run: join(folder, name),
  };
}

/** Lets a trained model answer, and writes what it said, what it was asked, and what is right: one line each. */
async function* answersTo(
  o: CompareOptions & { contestant: Contestant; name: string; config: TrainConfig; checkpoint: string },
): AsyncGenerator<CompareEvent, Answers> {
  const { contestant, name, config, folder, checkpoint, stopped } = o;
  const any = loadModel(checkpoint, { strict: true });
  const tokenizer = readTokenizer(config.tokenizer);
  try {
    let told = 0;
    const running = answersOf({ any, tokenizer }, config, o.answers, { stop: stopped, onAnswer: (done) => void (told = done) });
    let answers: Answers | undefined;
    while (!answers) {
      answers = await Promise.race([running, new Promise<undefined>((done) => setTimeout(() => done(undefined), 200))]);
      yield { type: 'answering', contestant, seed: config.seed, done: told, of: o.answers };
    }
    const lines = (texts: readonly string[]): string => texts.map((text) => `${text.replace(/\s*\n\s*/g, ' ')}\n`).join('');
    writeFileSync(join(folder, `${name}.hyp.txt`), lines(answers.rows.map((r) => r.text)));
    writeFileSync(join(folder, 'source.txt'), lines(answers.rows.map((r) => r.source)));
    writeFileSync(join(folder, 'reference.txt'), lines(answers.rows.map((r) => r.target)));
    return answers;
  } finally {
    dispose(any.model);
  }
}
