// A token stream in windows: by number for training, in order for evaluation.

import { type Batch, type Batches, createBatches, evalBatches, type Prepared, type TokenStream } from '../../data/index.ts';
import type { TrainConfig } from '../../settings/index.ts';

/**
 * The windows of a text. `validate`: the stream that evaluations read; `marks`: tokens of the context that are no text ([CLS], [SEP]).
 * A text that is only scored (`train`) may be shorter than what the model can see: it is one window.
 * @throws E135 a stream holds no window
 */
export function textWindows(config: TrainConfig, data: Prepared, validate: 'val' | 'train', marks = 0) {
  const { batch: batchSize, seed, order } = config;
  const val = data[validate];
  const most = config.contextLength - marks;
  const contextLength = validate === 'train' ? Math.max(1, Math.min(most, val.length - 1)) : most;
  const shape = { batchSize, contextLength, split: validate === 'val' ? 'validation' : 'other' };
  const batchesOf = (stream: TokenStream, from = seed): Batches =>
    createBatches(stream, { batchSize, contextLength, seed: from, order });
  const batches = batchesOf(data.train);
  evalBatches(val, shape).next(); // says what is too short before anything starts
  return {
    val,
    contextLength,
    /** What every task on text says of its data. */
    about: { trainTokens: data.train.length, valTokens: val.length, manifest: data.manifest, close: () => data.close() },
    /** The same windows of another stream. */
    batchesOf,
    batches,
    at: (m: number): Batch => batches.at(m * batchSize),
    evaluation(most?: number): { windows: Generator<Batch>; of: number } {
      const windows = evalBatches(val, { ...shape, maxWindows: most === undefined ? undefined : most * batchSize });
      return { windows, of: most ?? Math.ceil(val.length / contextLength / batchSize) };
    },
  };
}
