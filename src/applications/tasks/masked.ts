// Hidden tokens, to be guessed from both sides: what encoders are trained for. B batch · T tokens

import { createBatches, evalBatches, IGNORE_INDEX, type Prepared } from '../../data/index.ts';
import { scoreBatches } from '../../evaluate/index.ts';
import type { MaskedLM } from '../../models/index.ts';
import type { TrainConfig } from '../../settings/index.ts';
import { noGrad, Rng, scope } from '../../tensor/index.ts';
import type { Tokenizer } from '../../tokenizers/index.ts';
import { maskTokens } from '../../train/index.ts';
import { fillMasks } from '../fill-mask.ts';
import { specialId } from '../special-tokens.ts';
import { wordNumbers } from '../words.ts';
import { mapped } from './causal.ts';
import type { Task } from './task.ts';

interface MaskedBatch {
  inputs: Int32Array;
  targets: Int32Array;
  shape: readonly [B: number, T: number];
  targetTokens: number;
}

/** The seed of what is random in micro-batch m, whatever came before. */
export const seedOf = (seed: number, m: number): number => new Rng(seed + 0x3a5c * (m + 1)).fork();

/**
 * Masked LM (Devlin et al. 2018, §3.1): [CLS], a window of the text, [SEP]; other tokens are hidden every time a window comes by (Liu et al. 2019, §4.1).
 * Evaluations hide the same ones each time.
 */
export function maskedTask(
  config: TrainConfig,
  model: MaskedLM,
  tokenizer: Tokenizer,
  data: Prepared,
  validate: 'val' | 'train' = 'val',
): Task<MaskedBatch> {
  const { batch: batchSize, seed, order, maskRate: rate, wholeWords } = config;
  const [first, last, maskId] = (['first', 'last', 'mask'] as const).map((name) => specialId(tokenizer, name));
  const special = new Set(tokenizer.specialTokens.values());
  const contextLength = config.contextLength - 2; // between [CLS] and [SEP]
  const val = data[validate];
  const batches = createBatches(data.train, { batchSize, contextLength, seed, order });
  const shape = { batchSize, contextLength, split: validate === 'val' ? 'validation' : 'other' };
  evalBatches(val, shape).next();

  const framed = (windows: Int32Array, [B, T]: readonly [number, number]): Int32Array => {
    const rows = new Int32Array(B * (T + 2));
    for (let b = 0; b < B; b++) {
      rows[b * (T + 2)] = first;
      rows.set(windows.subarray(b * T, (b + 1) * T), b * (T + 2) + 1);
      rows[(b + 1) * (T + 2) - 1] = last;
    }
    return rows;
  };
  const hidden = ({ inputs: windows, shape: [B, T] }: { inputs: Int32Array; shape: readonly [number, number] }, rng: Rng) => {
    const ids = framed(windows, [B, T]);
    const words = wholeWords ? wordNumbers(tokenizer, ids) : undefined;
    const { inputs, targets } = maskTokens(ids, { vocabSize: model.bert.config.vocabSize, maskId, rate, special, words, rng });
    let targetTokens = targets.reduce((n, id) => n + (id === IGNORE_INDEX ? 0 : 1), 0);
    if (targetTokens === 0) {
      // So few tokens that none was drawn: a loss must be asked something.
      targets[1] = ids[1];
      inputs[1] = maskId;
      targetTokens = 1;
    }
    return { inputs, targets, shape: [B, T + 2] as const, targetTokens };
  };

  return {
    trainTokens: data.train.length,
    valTokens: val.length,
    manifest: data.manifest,
    at: (m) => hidden(batches.at(m * batchSize), new Rng(seedOf(seed, m))),
    tokensIn: ({ shape: [B, T] }) => B * T,
    loss: (batch, ctx) => model.loss(batch, ctx),
    async evaluate({ batches: most, stop, onBatch } = {}) {
      const windows = evalBatches(val, { ...shape, maxWindows: most === undefined ? undefined : most * batchSize });
      const of = most ?? Math.ceil(val.length / contextLength / batchSize);
      let right = 0;
      const each = mapped(windows, (b, i) => hidden(b, new Rng(seedOf(0, i))));
      const counted = mapped(each, (b) => {
        right += correct(model, b);
        return b;
      });
      const score = await scoreBatches((b: MaskedBatch) => model.loss(b), counted, {
        stop,
        onBatch: onBatch && ((done) => onBatch(done, of)),
      });
      return { ...score, accuracy: right / score.tokens };
    },
    async sample({ seed: from, prompt }) {
      const ids =
        prompt === undefined ? val.read(0, Math.min(24, val.length, contextLength)) : tokenizer.encode(prompt, { special: true });
      const { inputs } =
        prompt === undefined
          ? hidden({ inputs: ids, shape: [1, ids.length] }, new Rng(seedOf(from, 0)))
          : { inputs: framed(ids, [1, ids.length]) };
      const guesses = await fillMasks(model, inputs, maskId, 1);
      const filled = inputs.slice();
      for (const {
        at,
        guesses: [best],
      } of guesses)
        filled[at] = best.id;
      const text = (row: Int32Array) => tokenizer.decode(row.subarray(1, -1));
      return { prompt: text(inputs), text: ` → ${text(filled)}` };
    },
    close: () => data.close(),
  };
}

/** Asked tokens whose first guess is right. */
function correct(model: MaskedLM, { inputs, targets, shape }: MaskedBatch): number {
  using _ = scope('accuracy');
  const best = noGrad(() => model.forward(inputs, shape).argmax()).readSync();
  return targets.reduce((n, id, i) => n + (id !== IGNORE_INDEX && best[i] === id ? 1 : 0), 0);
}
