/**
 * Batches from several sources in given proportions, as a pure function of (seed, cursor): which source a sample comes from, and which of its samples, follow
 * from the cursor alone, so that one integer resumes a mixture exactly and nothing is remembered for each sample.
 *
 * The cursor is cut into blocks of M samples. Up to the end of block b, source s has had ⌊weight_s · b · M⌋ samples (the heaviest source has the rest), so
 * its share is right to one sample at every block end; inside a block the order is a permutation of its own (order.ts).
 */
// B batch · T tokens · S sources · M samples in a block
import type { Batch, Batches } from './batches.ts';
import { permuted } from './order.ts';

export interface MixtureSource {
  /** Batches of the source; all sources have the same context length. Give each a seed of its own. */
  batches: Batches;
  /** Share of the samples, up to a common factor. */
  weight: number;
}

export interface Mixture extends Batches {
  /** Where the sample at this cursor comes from: number of the source, and the cursor there. */
  sourceOf(cursor: number): { source: number; cursor: number };
  /** Samples of each source among the first `cursor` ones: how often each was repeated. */
  consumed(cursor: number): number[];
}

/** Mixes sources. RangeError for weights that are no shares, or sources of different context lengths. */
export function mixBatches(sources: readonly MixtureSource[], { seed, batchSize }: { seed: number; batchSize: number }): Mixture {
  const S = sources.length;
  const sum = sources.reduce((total, s) => total + s.weight, 0);
  if (S === 0 || !sources.every((s) => s.weight > 0 && Number.isFinite(s.weight)))
    throw new RangeError(`mixBatches: weights ${sources.map((s) => s.weight).join(', ')} must be above 0`);
  const weights = sources.map((s) => s.weight / sum);
  const heaviest = weights.indexOf(Math.max(...weights));
  const M = Math.max(1024, S * S); // the heaviest source then has enough samples in each block to take up the rounding of all others

  /** Samples of each source before block b. */
  const before = (b: number): number[] => {
    const counts = weights.map((w) => Math.floor(w * b * M));
    counts[heaviest] += b * M - counts.reduce((a, n) => a + n, 0);
    return counts;
  };
  const sourceOf = (cursor: number): { source: number; cursor: number } => {
    if (!(Number.isSafeInteger(cursor) && cursor >= 0))
      throw new RangeError(`mixBatches: cursor ${cursor} must be a whole number from 0 on`);
    const b = Math.floor(cursor / M);
    const from = before(b);
    const to = before(b + 1);
    let place = permuted(seed, b, cursor % M, M);
    let source = 0;
    for (; place >= to[source] - from[source]; source++) place -= to[source] - from[source];
    return { source, cursor: from[source] + place };
  };
  const at = (cursor: number, B = batchSize): Batch => {
    const rows = Array.from({ length: B }, (_, row) => {
      const from = sourceOf(cursor + row);
      return sources[from.source].batches.at(from.cursor, 1);
    });
    const T = rows[0].shape[1];
    if (rows.some((r) => r.shape[1] !== T))
      throw new RangeError(`mixBatches: context lengths ${rows.map((r) => r.shape[1]).join(', ')} in one batch`);
    const inputs = new Int32Array(B * T);
    const targets = new Int32Array(B * T);
    for (const [b, row] of rows.entries()) {
      inputs.set(row.inputs, b * T);
      targets.set(row.targets, b * T);
    }
    return {
      inputs,
      targets,
      shape: [B, T],
      starts: rows.map((r) => r.starts[0]),
      targetTokens: rows.reduce((n, r) => n + r.targetTokens, 0),
    };
  };
  return {
    samplesPerEpoch: Math.max(...sources.map((s, i) => Math.ceil(s.batches.samplesPerEpoch / weights[i]))),
    startOf(cursor) {
      const from = sourceOf(cursor);
      return sources[from.source].batches.startOf(from.cursor);
    },
    at,
    *from(cursor) {
      for (;;) {
        yield at(cursor);
        cursor += batchSize;
      }
    },
    sourceOf,
    consumed(cursor) {
      const b = Math.floor(cursor / M);
      const counts = before(b);
      for (let c = b * M; c < cursor; c++) counts[sourceOf(c).source]++;
      return counts;
    },
  };
}
