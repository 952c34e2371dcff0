// Windows of text as encoders read them, with tokens hidden. B batch · T tokens of a window

import { type Batch, createBatches, evalBatches, IGNORE_INDEX, type Prepared } from '../../data/index.ts';
import type { TrainConfig } from '../../settings/index.ts';
import { Rng } from '../../tensor/index.ts';
import type { Tokenizer } from '../../tokenizers/index.ts';
import { maskTokens } from '../../train/index.ts';
import { specialId } from '../special-tokens.ts';
import { wordNumbers } from '../words.ts';

/** The seed of what is random in micro-batch m, whatever came before. */
export const seedOf = (seed: number, m: number): number => new Rng(seed + 0x3a5c * (m + 1)).fork();

/** Windows for training by number, and for evaluation in order. `marks`: tokens of the context that are no text ([CLS], [SEP]). */
export function encoderText(config: TrainConfig, data: Prepared, validate: 'val' | 'train', marks: number) {
  const { batch: batchSize, seed, order } = config;
  const contextLength = config.contextLength - marks;
  const val = data[validate];
  const batches = createBatches(data.train, { batchSize, contextLength, seed, order });
  const shape = { batchSize, contextLength, split: validate === 'val' ? 'validation' : 'other' };
  evalBatches(val, shape).next(); // says what is too short before anything starts
  return {
    val,
    contextLength,
    /** What every task on text says of its data. */
    about: { trainTokens: data.train.length, valTokens: val.length, manifest: data.manifest, close: () => data.close() },
    at: (m: number): Batch => batches.at(m * batchSize),
    evaluation(most?: number): { windows: Generator<Batch>; of: number } {
      const windows = evalBatches(val, { ...shape, maxWindows: most === undefined ? undefined : most * batchSize });
      return { windows, of: most ?? Math.ceil(val.length / contextLength / batchSize) };
    },
  };
}

export interface Hidden {
  inputs: Int32Array;
  /** −100: not asked. */
  targets: Int32Array;
  targetTokens: number;
}

/** Hides tokens of texts as the settings say: other ones for every rng, whole words where they ask for it. @throws E165 no [MASK] */
export function hiding({ maskRate: rate, wholeWords }: TrainConfig, vocabSize: number, tokenizer: Tokenizer) {
  const maskId = specialId(tokenizer, 'mask');
  const special = new Set(tokenizer.specialTokens.values());
  return (ids: Int32Array, rng: Rng): Hidden => {
    const words = wholeWords ? wordNumbers(tokenizer, ids) : undefined;
    const { inputs, targets } = maskTokens(ids, { vocabSize, maskId, rate, special, words, rng });
    let targetTokens = targets.reduce((n, id) => n + (id === IGNORE_INDEX ? 0 : 1), 0);
    if (targetTokens === 0) {
      // So few tokens that none was drawn: a loss must be asked something.
      targets[1] = ids[1];
      inputs[1] = maskId;
      targetTokens = 1;
    }
    return { inputs, targets, targetTokens };
  };
}

/** [CLS] … [SEP]: rows of T tokens become rows of T + 2. @throws E165 */
export function framing(tokenizer: Tokenizer) {
  const [first, last] = (['first', 'last'] as const).map((name) => specialId(tokenizer, name));
  return (windows: Int32Array, [B, T]: readonly [number, number]): Int32Array => {
    const rows = new Int32Array(B * (T + 2));
    for (let b = 0; b < B; b++) {
      rows[b * (T + 2)] = first;
      rows.set(windows.subarray(b * T, (b + 1) * T), b * (T + 2) + 1);
      rows[(b + 1) * (T + 2) - 1] = last;
    }
    return rows;
  };
}
