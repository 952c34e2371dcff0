import type { Context } from '../attention/index.ts';
import type { Tensor } from '../tensor/index.ts';
import { type BatchScore, scoreBatches } from './batches.ts';

/** Rows of ids with the ids that follow; `targetTokens` of them count. */
export interface EvalBatch {
  inputs: Int32Array;
  targets: Int32Array;
  shape: readonly [B: number, T: number];
  targetTokens: number;
}

export type LanguageModelScore = BatchScore;

/** Loss over batches, each weighted by its targets. Stops early, with what it has, when `stop()` says so. */
export const scoreLanguageModel = (
  model: { loss(batch: EvalBatch, ctx?: Context): Tensor },
  batches: Iterable<EvalBatch>,
  options: { stop?: () => boolean } = {},
): Promise<LanguageModelScore> => scoreBatches((batch) => model.loss(batch), batches, options);

/** Comparable over tokenizers: loss · tokens / (bytes · ln 2). */
export const bitsPerByte = (lossNats: number, tokens: number, bytes: number): number => (lossNats * tokens) / (bytes * Math.LN2);
