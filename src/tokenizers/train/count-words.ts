/** How often each piece occurs in a corpus: all that a vocabulary is learned from. */
import { compileNormalizer } from '../normalize.ts';
import type { NormalizerSpec } from '../normalize.ts';
import { compilePreTokenizer } from '../pretokenize.ts';
import type { PreTokenizerSpec } from '../pretokenize.ts';
import { replaceLoneSurrogates } from '../utf8.ts';

export interface WordCounts {
  words: string[];
  counts: number[];
  /** How often a word is the last of its text. */
  endings?: number[];
}

export interface CountProgress {
  stage: 'count';
  texts: number;
  characters: number;
}

/** Normalize and cut each text by itself (no piece crosses a text) and count the pieces, in order of first sight. */
export function countWords(
  texts: Iterable<string>,
  {
    normalizer = null,
    preTokenizer = null,
    deferBytes = false,
    onProgress,
  }: {
    normalizer?: NormalizerSpec | null;
    preTokenizer?: PreTokenizerSpec | null;
    /** Leave a last ByteLevel step to the trainer: pieces stay plain text. */
    deferBytes?: boolean;
    onProgress?: (progress: CountProgress) => void;
  } = {},
): WordCounts {
  const normalize = normalizer ? compileNormalizer(normalizer) : undefined;
  const { split } = compilePreTokenizer(preTokenizer, deferBytes);
  const places = new Map<string, number>();
  const words: string[] = [];
  const counts: number[] = [];
  const endings: number[] = [];
  let last = -1;
  const count = (piece: string) => {
    const place = places.get(piece);
    if (place !== undefined) {
      counts[place]++;
      last = place;
    } else {
      last = words.length;
      places.set(piece, last);
      words.push(piece);
      counts.push(1);
    }
  };
  let done = 0;
  let characters = 0;
  let reported = 0;
  for (const text of texts) {
    const whole = replaceLoneSurrogates(text).text;
    last = -1;
    split(normalize ? normalize(whole) : whole, true, count);
    if (last >= 0) endings[last] = (endings[last] ?? 0) + 1;
    done++;
    characters += text.length;
    if (characters - reported >= 1 << 20) {
      reported = characters;
      onProgress?.({ stage: 'count', texts: done, characters });
    }
  }
  onProgress?.({ stage: 'count', texts: done, characters });
  return { words, counts, endings };
}
