/**
 * Training or validation?
 *
 * - `hash`: a document's own text decides, so the answer never depends on order, on other documents or on how often one appears: a copy of a
 *   training document can never be validated on.
 * - `tail`: the first (1 − fraction) of the tokens train, the rest validate. For a corpus of one document (a book); nanoGPT's split of Shakespeare.
 * - `auto`: `hash` where that gives both sides something, else `tail`.
 */
import { createHash } from 'node:crypto';

export type SplitKind = 'hash' | 'tail' | 'auto';

/** A document's place in [0, 1): the first 48 bits of the SHA-256 of its UTF-8 (of its first piece, when it is long), as a fraction. */
export const documentHash = (text: string): number =>
  createHash('sha256').update(text, 'utf8').digest().readUIntBE(0, 6) / 2 ** 48;

/** Whether a document belongs to validation: its hash lies below `fraction`. */
export const inValidation = (text: string, fraction: number): boolean => fraction > 0 && documentHash(text) < fraction;

/** Where validation begins in a tail split: ⌊tokens · (1 − fraction)⌋. */
export const tailCut = (tokens: number, fraction: number): number => Math.floor(tokens * (1 - fraction));
