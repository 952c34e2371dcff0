// Which target belongs to which source: one vector a text. N pairs of a batch · C channels

import type { Context } from '../../attention/index.ts';
import { scoreBatches } from '../../evaluate/index.ts';
import type { SentenceEncoder, Texts } from '../../models/index.ts';
import type { TrainConfig } from '../../settings/index.ts';
import { concat, noGrad, scope, type Tensor, tidy } from '../../tensor/index.ts';
import type { Tokenizer } from '../../tokenizers/index.ts';
import { infoNCE } from '../../train/index.ts';
import { evenPairs, pairOrder, type Pairs, type PairSets } from '../pair-data.ts';
import { specialId } from '../special-tokens.ts';
import type { Task } from './task.ts';

interface ContrastiveBatch {
  sources: Texts;
  targets: Texts;
  tokens: number;
  /** Sources: each is asked once. */
  targetTokens: number;
}

/** InfoNCE over a batch: each source has to find its target among all targets of the batch, and each target its source. Gao et al. 2021, §4. */
export function contrastiveTask(
  config: TrainConfig,
  model: SentenceEncoder,
  tokenizer: Tokenizer,
  { train, val, skipped }: PairSets,
): Task<ContrastiveBatch> {
  const { batch, seed } = config;
  const [padId, first] = (['pad', 'first'] as const).map((name) => specialId(tokenizer, name));
  const order = train.length > 0 ? pairOrder(train, batch, seed) : undefined;
  const side = (rows: readonly Int32Array[]): Texts => textRows(rows, first, padId);
  const made = (pairs: Pairs, rows: readonly number[]): ContrastiveBatch => {
    const [sources, targets] = (['sources', 'targets'] as const).map((name) => side(rows.map((i) => pairs[name].row(i))));
    const tokens = [...sources.lengths, ...targets.lengths].reduce((a, b) => a + b, 0);
    return { sources, targets, tokens, targetTokens: rows.length };
  };
  const loss = ({ sources, targets }: ContrastiveBatch, ctx: Context): Tensor =>
    infoNCE(model.forward(sources, ctx), model.forward(targets, ctx), { symmetric: true });

  return {
    trainTokens: train.tokens,
    valTokens: val.tokens,
    pairs: { train: train.length, val: val.length, skipped },
    uniformLossNats: Math.log(Math.min(batch, Math.max(train.length, 1))),
    at: (m) => made(train, order!(m)),
    tokensIn: ({ tokens }) => tokens,
    loss,
    async evaluate({ batches: most, stop, onBatch } = {}) {
      const all = evenPairs(val, batch, most === undefined ? undefined : most * batch);
      const each = function* () {
        for (const rows of all) yield made(val, rows);
      };
      const score = await scoreBatches((b: ContrastiveBatch) => loss(b, {}), each(), {
        stop,
        onBatch: onBatch && ((done) => onBatch(done, all.length)),
      });
      return { ...score, ...retrieval(model, val, all, side) };
    },
    /** The nearest of some validation targets, that of a validation source among them. */
    async sample({ seed: from, prompt }) {
      const text = (ids: Int32Array): string => tokenizer.decode(ids.subarray(0, -1));
      const own = from % val.length;
      const query =
        prompt === undefined ? val.sources.row(own) : Int32Array.from([...tokenizer.encode(prompt), val.sources.row(0).at(-1)!]);
      const batches = [[own], ...evenPairs(val, batch, 4 * batch)];
      const keys = batches.map((rows) => side(rows.map((i) => val.targets.row(i))));
      const [best] = nearest(model, [side([query])], keys);
      return { prompt: text(query), text: ` → ${text(val.targets.row(batches.flat()[best]))}` };
    },
    close() {},
  };
}

/** Texts side by side behind [CLS], padded to the longest; each row of ids has its [SEP]. */
export function textRows(rows: readonly Int32Array[], first: number, padId: number): Texts {
  const T = 1 + Math.max(...rows.map((row) => row.length));
  const ids = new Int32Array(rows.length * T).fill(padId);
  for (const [b, row] of rows.entries()) {
    ids[b * T] = first;
    ids.set(row, b * T + 1);
  }
  return { ids, shape: [rows.length, T], lengths: rows.map((row) => row.length + 1) };
}

/** The share of sources whose nearest target, among all of them, is their own (or the same text): recall at 1. */
function retrieval(
  model: SentenceEncoder,
  val: Pairs,
  batches: readonly number[][],
  side: (rows: readonly Int32Array[]) => Texts,
) {
  const rows = batches.flat();
  const texts = (name: 'sources' | 'targets') => batches.map((part) => side(part.map((i) => val[name].row(i))));
  const best = nearest(model, texts('sources'), texts('targets'));
  const key = (i: number): string => val.targets.row(i).join();
  const right = rows.filter((row, n) => key(row) === key(rows[best[n]])).length;
  return { accuracy: right / rows.length, candidates: rows.length };
}

/** For each query the number of the key with the largest cosine. */
function nearest(model: SentenceEncoder, queries: readonly Texts[], keys: readonly Texts[]): Int32Array {
  using _ = scope('nearest');
  return noGrad(() => {
    const vectors = (parts: readonly Texts[]): Tensor =>
      concat(
        parts.map((part) => tidy(() => model.forward(part))),
        0,
      );
    return vectors(queries).matmul(vectors(keys).T).argmax(); // (N, N)
  }).readSync() as Int32Array;
}
