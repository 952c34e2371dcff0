/** Texts that say the same over and over, in lines, paragraphs or n-grams. Rae et al. 2021, appendix A.1.1. */
import type { Rule } from './clean.ts';
import { hashWords, type Words } from './words.ts';

/** Largest share of characters that the most frequent n-gram may cover (Gopher, table A1). */
const TOP_NGRAM: [n: number, share: number][] = [
  [2, 0.2],
  [3, 0.18],
  [4, 0.16],
];
/** The same for all n-grams that occurred before. */
const REPEATED_NGRAMS: [n: number, share: number][] = [
  [5, 0.15],
  [6, 0.14],
  [7, 0.13],
  [8, 0.12],
  [9, 0.11],
  [10, 0.1],
];

/** Gopher's repetition filter: at most 30 % of lines or paragraphs, and 20 % of characters in them, are copies; n-grams as in the tables above. */
export const gopherRepetition = (): Rule => ({
  name: 'gopherRepetition',
  apply(text, note) {
    const drop = (why: string) => {
      note?.(why);
      return undefined;
    };
    if (tooManyCopies(text.split('\n'), text.length)) return drop('lines');
    if (text.includes('\n\n') && tooManyCopies(text.split(/\n{2,}/), text.length)) return drop('paragraphs');
    const words = hashWords(text, 'blanks');
    const { total, longest } = words;
    // A longer n-gram occurs no more often than its first two words: where even they are too seldom, it needs no count.
    let most = Number.POSITIVE_INFINITY;
    for (const [n, share] of TOP_NGRAM) {
      if (most * n * longest <= share * total) break;
      const { count, chars } = topNgram(words, n);
      if (count > 1 && count * chars > share * total) return drop(`${n}-grams`);
      most = count;
    }
    // What repeated 6-grams cover, repeated 5-grams cover too: when 5-grams stay below the last limit, all do.
    const least = REPEATED_NGRAMS[REPEATED_NGRAMS.length - 1][1];
    for (const [n, share] of REPEATED_NGRAMS) {
      const chars = repeatedNgramChars(words, n);
      if (chars > share * total) return drop(`${n}-grams`);
      if (chars <= least * total) break;
    }
    return text;
  },
});

function tooManyCopies(parts: readonly string[], length: number): boolean {
  const seen = new Set<string>();
  let filled = 0;
  let count = 0;
  let chars = 0;
  for (const part of parts) {
    if (part === '' || part.trim() === '') continue;
    filled++;
    const before = seen.size;
    seen.add(part);
    if (seen.size > before) continue;
    count++;
    chars += part.length;
  }
  return count > 0.3 * filled || chars > 0.2 * length;
}

// One table for counting hashes, used again for every text: a slot is empty unless it was stamped in this turn.
let slots = 1 << 13;
let keys = new Uint32Array(slots);
let counts = new Uint32Array(slots);
let stamps = new Uint32Array(slots);
let turn = 0;

function emptyTable(entries: number): void {
  if (2 * entries > slots) {
    while (2 * entries > slots) slots *= 2;
    keys = new Uint32Array(slots);
    counts = new Uint32Array(slots);
    stamps = new Uint32Array(slots);
    turn = 0;
  }
  turn++;
}

/** earlier[i]: how often the n-gram at word i occurred before it. */
let earlier = new Uint32Array(4096);

/** Fills `earlier`; returns how many n-grams there are. 32 bits take two of 10⁵ n-grams for one another in one text of two. */
function countNgrams({ hashes, count }: Words, n: number): number {
  if (count < n) return 0;
  emptyTable(count);
  if (count > earlier.length) earlier = new Uint32Array(2 * count);
  const [k, c, s, t] = [keys, counts, stamps, turn];
  const mask = slots - 1;
  let leaving = 0x9e3779b1; // base^n
  for (let i = 1; i < n; i++) leaving = Math.imul(leaving, 0x9e3779b1);
  let h = 0;
  for (let i = 0; i < n - 1; i++) h = (Math.imul(h, 0x9e3779b1) + hashes[i]) | 0;
  for (let i = 0; i <= count - n; i++) {
    h = (Math.imul(h, 0x9e3779b1) + hashes[i + n - 1]) | 0; // Σ word · base^(n−1−k), rolled along
    if (i > 0) h = (h - Math.imul(leaving, hashes[i - 1])) | 0;
    let key = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
    key = (key ^ (key >>> 13)) >>> 0;
    let slot = key & mask;
    while (s[slot] === t && k[slot] !== key) slot = (slot + 1) & mask;
    if (s[slot] !== t) {
      s[slot] = t;
      k[slot] = key;
      c[slot] = 0;
    }
    earlier[i] = c[slot]++;
  }
  return count - n + 1;
}

/** How often the most frequent n-gram occurs, and its characters. */
function topNgram(words: Words, n: number): { count: number; chars: number } {
  const ngrams = countNgrams(words, n);
  let most = 0;
  let at = 0;
  for (let i = 0; i < ngrams; i++)
    if (earlier[i] + 1 > most) {
      most = earlier[i] + 1;
      at = i;
    }
  let chars = 0;
  if (ngrams > 0) for (let k = at; k < at + n; k++) chars += words.lengths[k];
  return { count: most, chars };
}

/** Characters covered by n-grams that occurred before; overlapping ones are counted once. */
function repeatedNgramChars(words: Words, n: number): number {
  const ngrams = countNgrams(words, n);
  let chars = 0;
  let coveredTo = 0;
  for (let i = 0; i < ngrams; i++) {
    if (earlier[i] === 0) continue;
    for (let k = Math.max(i, coveredTo); k < i + n; k++) chars += words.lengths[k];
    coveredTo = i + n;
  }
  return chars;
}
