// A target for each source: translation, summaries, answers. Encoder-decoders read the source and write the target;
// decoders read both as one text, of which the target is asked.

import { scoreBatches } from '../../evaluate/index.ts';
import { type Context, prefixMask } from '../../attention/index.ts';
import type { TrainConfig } from '../../settings/index.ts';
import type { Tensor } from '../../tensor/index.ts';
import type { Tokenizer } from '../../tokenizers/index.ts';
import type { AnyModel } from '../model-folder.ts';
import { continuedBatch, evenPairs, pairBatch, pairOrder, type Pairs, type PairSets } from '../pair-data.ts';
import { pairWriter } from '../pair-writer.ts';
import type { Task } from './task.ts';

type LearnedPairs = { tokens: number; targetTokens: number; rows: readonly number[] };

/** Teacher forcing on pairs: every target token is predicted from the source and the real tokens before it. */
export function pairsTask(
  config: TrainConfig,
  any: AnyModel,
  tokenizer: Tokenizer,
  { train, val, skipped }: PairSets,
): Task<LearnedPairs> {
  const { batch, seed } = config;
  const prefix = config.objective === 'prefix';
  const writer = pairWriter(any, tokenizer, { prefix });
  const { startId, padId } = writer;
  const order = train.length > 0 ? pairOrder(train, batch, seed) : undefined;
  const made = (pairs: Pairs, rows: readonly number[]): LearnedPairs =>
    any.kind === 'encoder-decoder' ? pairBatch(pairs, rows, { startId, padId }) : continuedBatch(pairs, rows, { padId });
  const loss = (batch: LearnedPairs, ctx: Context): Tensor =>
    (any.model as unknown as { loss(batch: LearnedPairs, ctx: Context): Tensor }).loss(
      batch,
      prefix ? { ...ctx, ...seenWhole(batch as ReturnType<typeof continuedBatch>) } : ctx,
    );

  return {
    trainTokens: train.tokens,
    valTokens: val.tokens,
    pairs: { train: train.length, val: val.length, skipped },
    at: (m) => made(train, order!(m)),
    tokensIn: ({ tokens }) => tokens,
    loss,
    async evaluate({ batches: most, stop, onBatch } = {}) {
      const all = evenPairs(val, batch, most === undefined ? undefined : most * batch);
      const each = all.map((rows) => () => made(val, rows));
      return scoreBatches((b: LearnedPairs) => loss(b, {}), called(each), {
        stop,
        onBatch: onBatch && ((done) => onBatch(done, all.length)),
      });
    },
    async sample({ seed: from, maxTokens, prompt }) {
      const source = prompt ?? tokenizer.decode(val.sources.row(from % val.length).subarray(0, -1));
      const { text } = await writer.write(source, { maxTokens });
      return { prompt: source, text: ` → ${text}` };
    },
    close() {},
  };
}

/** Prefix LM: a source is seen whole by all, itself included; a target as it is written. Raffel et al. 2019, §3.2.1. */
const seenWhole = ({ prefixes, shape: [, T] }: ReturnType<typeof continuedBatch>): Context => ({
  causal: false,
  mask: prefixMask(T, T, prefixes),
});

function* called<T>(makers: readonly (() => T)[]): Generator<T> {
  for (const make of makers) yield make();
}
