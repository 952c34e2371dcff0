// A mask is a bias of 0 where a query may look and −∞ where it may not, of shape (B or 1, H or 1, T or 1, S). Masks compose by addition:
// a query sees a key when every mask allows it. eitherMask joins them the other way.
// Query t and key s are aligned at the end: with more keys than queries, query t stands at place t + S − T.

import { concat, Tensor } from '../tensor/index.ts';

/** (1, 1, T, S) from a rule: may the query at `place` see `key`? */
export function maskFrom(T: number, S: number, allowed: (place: number, key: number) => boolean): Tensor {
  const values = new Float32Array(T * S);
  for (let t = 0; t < T; t++) for (let s = 0; s < S; s++) values[t * S + s] = allowed(t + S - T, s) ? 0 : -Infinity;
  return Tensor.from(values, [1, 1, T, S]);
}

/** Keys from place − left to place + right; a missing side has no limit. Causal: right = 0. */
export const bandMask = (T: number, S: number, left?: number, right?: number): Tensor =>
  maskFrom(T, S, (place, key) => (left === undefined || key >= place - left) && (right === undefined || key <= place + right));

/** Each sees the past and itself. */
export const causalMask = (T: number, S = T): Tensor => bandMask(T, S, undefined, 0);

/**
 * Everybody sees the first `prefix` keys; after them each sees the past. A list has a prefix for each row, → (B, 1, T, S).
 * Prefix LM: Raffel et al. 2019, §3.2.1. A decoder takes it with `causal: false`.
 */
export function prefixMask(T: number, S: number, prefix: number | readonly number[]): Tensor {
  const rows = [prefix].flat().map((n) => maskFrom(T, S, (place, key) => key < n || key <= place));
  return rows.length === 1 ? rows[0] : concat(rows, 0);
}

/** A window of `width` keys to each side, plus `globals` first places that see and are seen by all. Beltagy et al. 2020, §3.1. */
export const globalLocalMask = (T: number, S: number, width: number, globals: number): Tensor =>
  maskFrom(T, S, (place, key) => Math.abs(place - key) <= width || key < globals || place < globals);

/** Whole blocks of `size` × `size` pairs: block (i, j) is seen where `allowed` says so. Block-sparse attention: Zaheer et al. 2020, §2. */
export const blockMask = (T: number, S: number, size: number, allowed: (i: number, j: number) => boolean): Tensor =>
  maskFrom(T, S, (place, key) => allowed(Math.floor(place / size), Math.floor(key / size)));

/** The last `stride` keys and every stride-th before them, in the past. Child et al. 2019, §4.2 ("strided"). */
export const stridedMask = (T: number, S: number, stride: number): Tensor =>
  maskFrom(T, S, (place, key) => key <= place && (place - key < stride || (place - key) % stride === 0));

/** Only the first lengths[b] keys of row b are real. */
export function paddingMask(lengths: readonly number[], S: number): Tensor {
  const values = new Float32Array(lengths.length * S);
  lengths.forEach((n, b) => values.fill(-Infinity, b * S + Math.min(n, S), (b + 1) * S));
  return Tensor.from(values, [lengths.length, 1, 1, S]);
}

/** Tokens of packed documents see their own document only: documents[b·S + s] is the document of token s in row b. */
export function documentMask(documents: ArrayLike<number>, B: number, S: number): Tensor {
  const values = new Float32Array(B * S * S);
  for (let b = 0; b < B; b++)
    for (let t = 0; t < S; t++)
      for (let s = 0; s < S; s++) if (documents[b * S + t] !== documents[b * S + s]) values[(b * S + t) * S + s] = -Infinity;
  return Tensor.from(values, [B, 1, S, S]);
}

/** A key is seen when one of the masks allows it. */
export const eitherMask = (a: Tensor, b: Tensor): Tensor => a.maximum(b);
