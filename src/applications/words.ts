// Which tokens are one word, so that a word can be hidden as a whole (Cui et al. 2019).

import { type Tokenizer, utf8Text } from '../tokenizers/index.ts';

/** Cuts at the words of the language: blanks and punctuation where they are written, a dictionary for Chinese and Japanese (ICU's). */
const segmenter = new Intl.Segmenter(undefined, { granularity: 'word' });

/** The number of the word that each id begins in; special tokens are words of their own. */
export function wordNumbers(tokenizer: Tokenizer, ids: Int32Array): Int32Array {
  const specials = new Set(tokenizer.specialTokens.values());
  const numbers = new Int32Array(ids.length);
  let word = 0;
  for (let from = 0; from < ids.length; ) {
    let to = from;
    while (to < ids.length && !specials.has(ids[to])) to++;
    word = numberText(tokenizer, ids, from, to, numbers, word);
    if (to < ids.length) numbers[to] = word++;
    from = to + 1;
  }
  return numbers;
}

/** Numbers the words of ids[from … to), from `word` on; returns the next number. */
function numberText(tokenizer: Tokenizer, ids: Int32Array, from: number, to: number, numbers: Int32Array, word: number): number {
  const pieces = Array.from(ids.subarray(from, to), (id, i) => tokenizer.tokenBytes(id, i === 0));
  const bytes = new Uint8Array(pieces.reduce((n, p) => n + p.length, 0));
  const starts: number[] = []; // of each token, its first byte that is no blank
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    const blank = piece.findIndex((b) => b !== 0x20);
    starts.push(at + Math.max(0, blank));
    at += piece.length;
  }
  // Words by the byte where they begin; a word of the segmenter may be a single blank.
  const ends: number[] = [];
  let end = 0;
  for (const { segment } of segmenter.segment(utf8Text(bytes))) ends.push((end += Buffer.byteLength(segment)));
  let w = 0;
  for (const [i, start] of starts.entries()) {
    while (w < ends.length - 1 && start >= ends[w]) w++;
    numbers[from + i] = word + w;
  }
  return word + ends.length + 1;
}
