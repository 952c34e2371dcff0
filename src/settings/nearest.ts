/** The nearest of several names, for "did you mean …?". */

/**
 * The name nearest to `word`, or undefined when none is near: case and separators do not count, else at most a third of the letters may differ.
 * `aliases` are other spellings of the same thing.
 */
export function nearest(
  word: string,
  names: readonly string[],
  aliases: Readonly<Record<string, string>> = {},
): string | undefined {
  if (Object.hasOwn(aliases, word) && names.includes(aliases[word])) return aliases[word];
  const plain = (s: string) => s.toLowerCase().replace(/[-_.\s]/g, '');
  let best: string | undefined;
  let least = Math.max(1, Math.floor(word.length / 3)) + 1;
  for (const name of [...names, ...Object.keys(aliases)]) {
    const d = editDistance(plain(word), plain(name));
    if (d < least) [best, least] = [name, d];
  }
  const found = best !== undefined && Object.hasOwn(aliases, best) && !names.includes(best) ? aliases[best] : best;
  return found !== undefined && names.includes(found) ? found : undefined;
}

/** Insertions, deletions, substitutions and swaps of neighbours between two words (Damerau 1964, restricted form). */
export function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let above = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      row[j] = Math.min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) row[j] = Math.min(row[j], before[j - 2] + 1);
    }
    [before, above] = [above, row];
  }
  return above[b.length];
}
