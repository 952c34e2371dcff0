/** What a Unigram vocabulary is searched among: substrings of the words. */

/** Words as their characters, with their counts. */
export interface Words {
  words: string[][];
  counts: number[];
  /** How often each is the last of its text. */
  endings: number[];
}

/**
 * Substrings that occur at least twice, the best by count × length, and all characters.
 *
 * `branching`: of these only the ones that spm_train starts from, the inner nodes of the suffix tree of its text. It builds the tree from bytes (0.2.3), so that a
 * substring counts when the characters that follow it differ in their first byte: among Chinese characters (E4 … E9) many do not.
 */
export function seedPieces(
  { words, counts, endings }: Words,
  characters: ReadonlySet<string>,
  { maxLength, seedSize, branching }: { maxLength: number; seedSize: number; branching: boolean },
): [string, number][] {
  // By length: a substring that occurs twice goes on only where its beginning does.
  const found: [string, number][] = [];
  const singles = new Map<string, number>();
  words.forEach((chars, w) => {
    for (const char of chars) singles.set(char, (singles.get(char) ?? 0) + counts[w]);
  });
  let shorter: ReadonlyMap<string, number> = singles;
  for (let length = 2; length <= maxLength && shorter.size; length++) {
    const longer = new Map<string, number>();
    // What follows a substring: the first byte of its first follower, or `many`.
    const followers = new Map<string, number>();
    const follow = (piece: string, next: number) => {
      const known = followers.get(piece);
      if (known === undefined) followers.set(piece, next);
      else if (known !== next) followers.set(piece, many);
    };
    words.forEach((chars, w) => {
      for (let start = 0; start + length <= chars.length; start++) {
        if ((shorter.get(chars.slice(start, start + length - 1).join('')) ?? 0) < 2) continue;
        const piece = chars.slice(start, start + length).join('');
        longer.set(piece, (longer.get(piece) ?? 0) + counts[w]);
        if (!branching) continue;
        if (start + length < chars.length) follow(piece, firstByte(chars[start + length]));
        else {
          if (endings[w] < counts[w]) follow(piece, firstByte('▁'));
          if (endings[w] > 0) follow(piece, textEnd);
        }
      }
    });
    for (const [piece, count] of longer) {
      if (count < 2) longer.delete(piece);
      else if (!branching || followers.get(piece) === many) found.push([piece, count * length]);
    }
    shorter = longer;
  }
  found.sort((a, b) => b[1] - a[1]);
  return [
    ...Array.from(characters, (char): [string, number] => [char, singles.get(char) ?? 1]),
    ...found.slice(0, Math.max(0, seedSize - characters.size)),
  ];
}

/** No bytes, so that they differ from all. */
const [many, textEnd] = [-1, -2];

/** First byte of a character in UTF-8. */
function firstByte(char: string): number {
  const c = char.codePointAt(0)!;
  return c < 0x80 ? c : c < 0x800 ? 0xc0 | (c >> 6) : c < 0x10000 ? 0xe0 | (c >> 12) : 0xf0 | (c >> 18);
}
