/** Pretrained vectors in the text form of word2vec and GloVe: a word and its numbers on each line, blanks between; word2vec has a line `words width` before them. */
import { notText } from './errors.ts';
import { fileChunks, lineBatches } from './lines.ts';
import { expanded } from './compressed.ts';

export interface WordVectors {
  /** (V, C) row-major: the row of each word that was asked for; the mean of the rows that were found where a word has none. */
  values: Float32Array;
  width: number;
  /** Which of the words were found. */
  found: boolean[];
}

/** The vectors of the words of a vocabulary, in its order; the file (plain, .gz or .zst) is read once and only those rows are kept. E133 when it is no such file. */
export async function readWordVectors(path: string, words: readonly string[]): Promise<WordVectors> {
  const rows = new Map<string, number[]>();
  for (const [i, word] of words.entries()) rows.set(word, [...(rows.get(word) ?? []), i]);
  const found = words.map(() => false);
  let width = 0;
  let values = new Float32Array();
  const mean: number[] = [];
  let kept = 0;
  for await (const { buffer, lines } of lineBatches(expanded(fileChunks(path), path), { maxLineBytes: 1 << 20 })) {
    for (const { start, end, number, tooLong } of lines) {
      const parts = buffer.toString('utf8', start, end).trimEnd().split(' ');
      if (number === 1 && parts.length === 2 && parts.every((p) => /^\d+$/.test(p))) continue;
      if (width === 0) {
        width = parts.length - 1;
        if (tooLong > 0 || width < 1) throw notText(path, `no vectors: line ${number} has no word with numbers behind it`);
        values = new Float32Array(words.length * width);
        mean.push(...new Array(width).fill(0));
      }
      // A word may have blanks in it; the numbers are the last ones.
      const word = parts.slice(0, parts.length - width).join(' ');
      const places = rows.get(word);
      if (!places || found[places[0]]) continue;
      const numbers = parts.slice(-width).map(Number);
      if (numbers.length !== width || !numbers.every(Number.isFinite))
        throw notText(path, `vectors of ${width} numbers, and line ${number} has others`);
      for (const i of places) {
        values.set(numbers, i * width);
        found[i] = true;
      }
      for (const [c, x] of numbers.entries()) mean[c] += x;
      kept++;
    }
  }
  if (width === 0) throw notText(path, 'an empty file of vectors');
  for (const [i, has] of found.entries())
    if (!has && kept > 0)
      values.set(
        mean.map((x) => x / kept),
        i * width,
      );
  return { values, width, found };
}
