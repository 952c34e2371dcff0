/** Splitters without a regular expression, for the two cuts that BERT and T5 make at every word: one look into a table a character. `scan.test.ts` holds them to the patterns. */
import type { PreTokenizer } from './pretokenize.ts';

/** Other characters, blanks, punctuation (ASCII's, and Unicode P); -1 where it was not asked for yet. */
const [other, blank, mark] = [0, 1, 2];
const kinds = new Int8Array(0x10000).fill(-1);
const whiteSpace = /^\p{White_Space}$/u;
const punctuation = /^[!-/:-@[-`{-~\p{P}]$/u;

function kindOf(unit: number): number {
  const char = String.fromCharCode(unit);
  kinds[unit] = whiteSpace.test(char) ? blank : punctuation.test(char) ? mark : other;
  return kinds[unit];
}

/** Cut at blanks, which go. */
export const cutAtBlanks: PreTokenizer = (text, atStart, emit) => {
  let start = 0;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    const kind = kinds[unit];
    if ((kind < 0 ? kindOf(unit) : kind) !== blank) continue;
    if (i > start) emit(text.slice(start, i), atStart && start === 0);
    start = i + 1;
  }
  if (text.length > start) emit(start === 0 ? text : text.slice(start), atStart && start === 0);
};

/** Cut at blanks, which go, and around each punctuation mark, which is a piece (BERT). */
export const cutAtBlanksAndMarks: PreTokenizer = (text, atStart, emit) => {
  let start = 0;
  const word = (end: number): void => {
    if (end > start) emit(text.slice(start, end), atStart && start === 0);
  };
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    const kind = kinds[unit] < 0 ? kindOf(unit) : kinds[unit];
    if (kind === other) {
      // A mark above U+FFFF (Phoenician word separators and such) is a pair of units.
      if (unit < 0xd800 || unit >= 0xdc00 || !punctuation.test(text.slice(i, i + 2))) continue;
      word(i);
      emit(text.slice(i, i + 2), atStart && i === 0);
      start = ++i + 1;
      continue;
    }
    word(i);
    if (kind === mark) emit(text.slice(i, i + 1), atStart && i === 0);
    start = i + 1;
  }
  word(text.length);
};
