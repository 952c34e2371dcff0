// Pairs as ids: read once, held in memory (four bytes a token), divided into training and validation, and dealt out in batches of like length.
// B batch · S source tokens · T target tokens

import { IGNORE_INDEX, inValidation, permuted } from '../data/index.ts';
import { QkvError } from '../errors.ts';
import type { PairBatch } from '../models/index.ts';
import type { TrainConfig } from '../settings/index.ts';
import type { Tokenizer } from '../tokenizers/index.ts';
import { noPairs, pairsIn } from './texts.ts';

/** Rows of ids of any length, in one array. */
class Ragged {
  #ids = new Int32Array(1 << 16);
  readonly #ends: number[] = [0];

  push(row: Int32Array, last: number): void {
    const at = this.#ends.at(-1)!;
    while (at + row.length + 1 > this.#ids.length) {
      const larger = new Int32Array(2 * this.#ids.length);
      larger.set(this.#ids);
      this.#ids = larger;
    }
    this.#ids.set(row, at);
    this.#ids[at + row.length] = last;
    this.#ends.push(at + row.length + 1);
  }
  row = (i: number): Int32Array => this.#ids.subarray(this.#ends[i], this.#ends[i + 1]);
  lengthOf = (i: number): number => this.#ends[i + 1] - this.#ends[i];
  get tokens(): number {
    return this.#ends.at(-1)!;
  }
}

/** Sources and targets, each with the id that ends it. */
export class Pairs {
  readonly sources = new Ragged();
  readonly targets = new Ragged();
  length = 0;

  add(source: Int32Array, target: Int32Array, endId: number): void {
    this.sources.push(source, endId);
    this.targets.push(target, endId);
    this.length++;
  }
  lengthOf = (i: number): number => this.sources.lengthOf(i) + this.targets.lengthOf(i);
  get tokens(): number {
    return this.sources.tokens + this.targets.tokens;
  }
}

export interface PairSets {
  train: Pairs;
  val: Pairs;
  /** Pairs that are longer than the context. */
  skipped: number;
}

/**
 * Reads all pairs. A pair of which a side has more than contextLength tokens is left out and counted. The source's hash decides between training and
 * validation, so that all targets of one source are on the same side; `whole` puts everything into `val`. `together`: both sides share one context.
 * @throws E144 no pairs · E145 none that fits the context, and those of the readers
 */
export async function readPairs(
  config: TrainConfig,
  tokenizer: Tokenizer,
  endId: number,
  { whole = false, together = false, signal }: { whole?: boolean; together?: boolean; signal?: AbortSignal } = {},
): Promise<PairSets> {
  const { contextLength } = config;
  const read: { source: Int32Array; target: Int32Array; val: boolean }[] = [];
  let skipped = 0;
  let longest = 0;
  const onBytes = () => signal?.throwIfAborted();
  for await (const { source: from, target: to } of pairsIn(config, { onBytes })) {
    const [source, target] = [tokenizer.encode(from), tokenizer.encode(to)];
    const longer = 1 + (together ? source.length + target.length : Math.max(source.length, target.length));
    longest = Math.max(longest, longer);
    if (longer > contextLength) skipped++;
    else read.push({ source, target, val: whole || inValidation(from, config.valFraction) });
    if ((read.length + skipped) % 1000 === 0) await new Promise((done) => setImmediate(done)); // signals are heard
    signal?.throwIfAborted();
  }
  if (read.length + skipped === 0) throw noPairs(config.data);
  if (read.length < (whole ? 1 : 2))
    throw new QkvError('E145', `${skipped} pairs, but only ${read.length} fit contextLength=${contextLength}`, {
      pairs: read.length + skipped,
      fit: read.length,
      contextLength,
      longest,
    });
  // Few pairs may all hash to one side: then the last ones validate.
  const inVal = read.filter((pair) => pair.val).length;
  const share = Math.max(1, Math.round(config.valFraction * read.length));
  if (!whole && (inVal === 0 || inVal === read.length)) for (const [i, p] of read.entries()) p.val = i >= read.length - share;
  const sets: PairSets = { train: new Pairs(), val: new Pairs(), skipped };
  for (const { source, target, val } of read) sets[val ? 'val' : 'train'].add(source, target, endId);
  return sets;
}

/** A batch for the trainer: `tokens` of source and target, `targetTokens` of them asked. */
export interface PairsToLearn extends PairBatch {
  tokens: number;
  targetTokens: number;
  /** Which pairs these are. */
  rows: readonly number[];
}

/** Pairs side by side, padded to the longest. The decoder is given `startId` and then each target token but the last (teacher forcing). */
export function pairBatch(
  pairs: Pairs,
  rows: readonly number[],
  { startId, padId }: { startId: number; padId: number },
): PairsToLearn {
  const B = rows.length;
  const lengths = rows.map((i) => pairs.sources.lengthOf(i));
  const S = Math.max(...lengths);
  const T = Math.max(...rows.map((i) => pairs.targets.lengthOf(i)));
  const source = new Int32Array(B * S).fill(padId);
  const inputs = new Int32Array(B * T).fill(padId);
  const targets = new Int32Array(B * T).fill(IGNORE_INDEX);
  let targetTokens = 0;
  for (const [b, i] of rows.entries()) {
    const target = pairs.targets.row(i);
    source.set(pairs.sources.row(i), b * S);
    targets.set(target, b * T);
    inputs[b * T] = startId;
    inputs.set(target.subarray(0, -1), b * T + 1);
    targetTokens += target.length;
  }
  const tokens = targetTokens + lengths.reduce((a, b) => a + b, 0);
  return { source, sourceShape: [B, S], lengths, inputs, targets, shape: [B, T], tokens, targetTokens, rows };
}

/** The same as one text a row, source then target, for a decoder: only the target is asked. */
export function continuedBatch(pairs: Pairs, rows: readonly number[], { padId }: { padId: number }) {
  const B = rows.length;
  const T = Math.max(...rows.map((i) => pairs.lengthOf(i))) - 1;
  const inputs = new Int32Array(B * T).fill(padId);
  const targets = new Int32Array(B * T).fill(IGNORE_INDEX);
  let [tokens, targetTokens] = [0, 0];
  for (const [b, i] of rows.entries()) {
    const [source, target] = [pairs.sources.row(i), pairs.targets.row(i)];
    inputs.set(source, b * T);
    inputs.set(target.subarray(0, -1), b * T + source.length);
    targets.set(target, b * T + source.length - 1);
    tokens += source.length + target.length;
    targetTokens += target.length;
  }
  const prefixes = rows.map((i) => pairs.sources.lengthOf(i));
  return { inputs, targets, shape: [B, T] as const, prefixes, tokens, targetTokens, rows };
}

/** Batches of one epoch are sorted by length within this many batches: less padding, and still another company every time. */
const SORTED_BATCHES = 50;

/**
 * The pairs of batch number m, a pure function of (seed, m): every epoch takes each pair once, in an order of its own, pairs of like length together.
 * The few that do not fill a last batch wait for another epoch.
 */
export function pairOrder(pairs: Pairs, batch: number, seed: number): (m: number) => number[] {
  const N = pairs.length;
  const B = Math.min(batch, N);
  const perEpoch = Math.floor(N / B);
  let made: { epoch: number; batches: number[][] } | undefined;
  return (m) => {
    const epoch = Math.floor(m / perEpoch);
    if (made?.epoch !== epoch) {
      const shuffled = Array.from({ length: perEpoch * B }, (_, i) => permuted(seed, epoch, i, N));
      const batches: number[][] = [];
      for (let at = 0; at < shuffled.length; at += B * SORTED_BATCHES) {
        const sorted = shuffled.slice(at, at + B * SORTED_BATCHES).sort((a, b) => pairs.lengthOf(a) - pairs.lengthOf(b) || a - b);
        for (let b = 0; b < sorted.length; b += B) batches.push(sorted.slice(b, b + B));
      }
      made = { epoch, batches: batches.map((_, k) => batches[permuted(seed, -1 - epoch, k, batches.length)]) };
    }
    return made.batches[m % perEpoch];
  };
}

/** All pairs in order, or `most` of them spread evenly. */
export function evenPairs(pairs: Pairs, batch: number, most = Number.POSITIVE_INFINITY): number[][] {
  const n = Math.min(most, pairs.length);
  const rows = Array.from({ length: n }, (_, i) => Math.floor((i * pairs.length) / n));
  return Array.from({ length: Math.ceil(n / batch) }, (_, k) => rows.slice(k * batch, (k + 1) * batch));
}
