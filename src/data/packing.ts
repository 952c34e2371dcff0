/**
 * Rows of equal length from documents of any length: packing puts several short documents into one row, bucketing puts documents of like length into one
 * batch. Both are pure functions of the lengths (and a seed); neither loses or repeats a token.
 */
// B rows · T tokens in a row
import { IGNORE_INDEX } from './batches.ts';
import { hash32, permuted } from './order.ts';

/** Which documents lie in each row: best fit, longest first (Coffman, Garey & Johnson 1996: at most 11/9 of the fewest rows, and a row more). Every length is 1 … T. */
export function packLengths(lengths: ArrayLike<number>, T: number): number[][] {
  const order = Array.from(lengths, (length, i) => ({ length, i })).sort((a, b) => b.length - a.length || a.i - b.i);
  const rows: number[][] = [];
  const withRoom: number[][] = Array.from({ length: T + 1 }, () => []); // rows by their free places
  for (const { length, i } of order) {
    if (!(Number.isSafeInteger(length) && length >= 1 && length <= T))
      throw new RangeError(`packLengths: document ${i} has ${length} tokens, a row ${T}. Cut it first, with chunksOf`);
    let room = length;
    while (room <= T && withRoom[room].length === 0) room++;
    const row = room <= T ? withRoom[room].pop()! : rows.push([]) - 1;
    rows[row].push(i);
    withRoom[(room <= T ? room : T) - length].push(row);
  }
  return rows;
}

/**
 * A document in parts of at most T + 1 tokens, each beginning with the last token of the one before: every token but the first is a target exactly once. A loss mask is
 * cut alike.
 */
export function chunksOf<A extends Int32Array | Uint8Array>(ids: A, T: number): A[] {
  if (ids.length <= T + 1) return [ids];
  const parts: A[] = [];
  for (let at = 0; at < ids.length - 1; at += T) parts.push(ids.subarray(at, Math.min(ids.length, at + T + 1)) as A);
  return parts;
}

export interface PackedBatch {
  /** (B, T) ids, row-major. */
  inputs: Int32Array;
  /** (B, T): `inputs` one token later within the same document; its last token and the padding have `ignoreIndex`. */
  targets: Int32Array;
  /** (B, T): the number of the document in its row, from 0; −1 for padding. For `documentMask` of attention/masks.ts. */
  documents: Int32Array;
  /** (B, T): the place in its document, from 0: for models with learned or absolute positions. */
  positions: Int32Array;
  shape: [B: number, T: number];
  targetTokens: number;
}

/**
 * One batch of packed rows. Document i gives the pairs (ids[k], ids[k + 1]), so it takes ids.length − 1 places, which must be 1 … T; `rows` says which
 * documents lie in which row (`packLengths` of those lengths). `masks`: for each document which tokens are worth a loss (`encodeDialogue` of tokenizers/); the others are seen
 * but are no targets.
 */
export function packedBatch(
  documents: readonly Int32Array[],
  rows: readonly (readonly number[])[],
  T: number,
  { pad = 0, ignoreIndex = IGNORE_INDEX, masks }: { pad?: number; ignoreIndex?: number; masks?: readonly Uint8Array[] } = {},
): PackedBatch {
  const B = rows.length;
  const inputs = new Int32Array(B * T).fill(pad);
  const targets = new Int32Array(B * T).fill(ignoreIndex);
  const numbers = new Int32Array(B * T).fill(-1);
  const positions = new Int32Array(B * T);
  let targetTokens = 0;
  for (const [b, row] of rows.entries()) {
    let at = b * T;
    for (const [n, i] of row.entries()) {
      const length = documents[i].length - 1;
      if (length < 1 || at + length > (b + 1) * T)
        throw new RangeError(`packedBatch: document ${i} with ${documents[i].length} tokens does not fit row ${b} of ${T}`);
      inputs.set(documents[i].subarray(0, length), at);
      targets.set(documents[i].subarray(1), at);
      const mask = masks?.[i];
      if (mask && mask.length !== length + 1)
        throw new RangeError(`packedBatch: document ${i} has ${length + 1} tokens, its mask ${mask.length}`);
      let seen = 0;
      if (mask) for (let k = 0; k < length; k++) if (!mask[k + 1]) [targets[at + k], seen] = [ignoreIndex, seen + 1];
      numbers.fill(n, at, at + length);
      for (let k = 0; k < length; k++) positions[at + k] = k;
      at += length;
      targetTokens += length - seen;
    }
  }
  return { inputs, targets, documents: numbers, positions, shape: [B, T], targetTokens };
}

export interface BucketOptions {
  /** Places in a batch, padding counted: B · longest ≤ this. A longer document is a batch of its own. */
  batchTokens: number;
  seed: number;
  epoch?: number;
  /** Documents that are sorted together; larger pads less, smaller mixes more. */
  window?: number;
}

/**
 * Batches of document numbers in which lengths are alike: shuffle, sort by length within windows, cut into batches, shuffle the batches. A pure function of
 * (lengths, seed, epoch); each document is in exactly one batch.
 */
export function lengthBuckets(
  lengths: ArrayLike<number>,
  { batchTokens, seed, epoch = 0, window = 4096 }: BucketOptions,
): number[][] {
  const N = lengths.length;
  const shuffled = Array.from({ length: N }, (_, i) => permuted(seed, epoch, i, N));
  const batches: number[][] = [];
  for (let from = 0; from < N; from += window) {
    const sorted = shuffled
      .slice(from, from + window)
      .map((i, k) => ({ i, k }))
      .sort((a, b) => lengths[a.i] - lengths[b.i] || a.k - b.k);
    let batch: number[] = [];
    for (const { i } of sorted) {
      if (batch.length > 0 && (batch.length + 1) * lengths[i] > batchTokens) {
        batches.push(batch);
        batch = [];
      }
      batch.push(i);
    }
    if (batch.length > 0) batches.push(batch);
  }
  return batches.map((_, k) => batches[permuted(hash32(seed, 1), epoch, k, batches.length)]);
}

/** Share of places that hold a token: 1 is no padding. */
export function fillOf(lengths: ArrayLike<number>, batches: readonly (readonly number[])[], T?: number): number {
  let tokens = 0;
  let places = 0;
  for (const batch of batches) {
    const batchLengths = batch.map((i) => lengths[i]);
    tokens += batchLengths.reduce((a, b) => a + b, 0);
    places += T ?? batch.length * batchLengths.reduce((a, b) => Math.max(a, b), 0);
  }
  return tokens / Math.max(1, places);
}
