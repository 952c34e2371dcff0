/**
 * Words and letters of a text, read a code point at a time with a table of classes: what the quality rules, the shingles and the language guess count.
 * One scan is some 2 ns a character; the same by regular expressions is ten times that.
 */

/** Bits of a code point's class. */
export const SPACE = 1;
export const LETTER = 2;
export const NUMBER = 4;
export const HAN = 8;
export const KANA = 32;
export const HANGUL = 64;
const KNOWN = 16;

const classes = new Uint8Array(0x110000);

/** The class of a code point: SPACE (`\s`), LETTER (`\p{L}`), NUMBER (`\p{N}`), HAN, KANA, HANGUL (Unicode scripts). */
export function classOf(point: number): number {
  return classes[point] || classify(point);
}

function classify(point: number): number {
  const c = String.fromCodePoint(point);
  let bits = KNOWN;
  if (/\s/.test(c)) bits |= SPACE;
  if (/\p{L}/u.test(c)) bits |= LETTER;
  if (/\p{N}/u.test(c)) bits |= NUMBER;
  if (/\p{Script=Han}/u.test(c)) bits |= HAN;
  if (/\p{Script=Hiragana}|\p{Script=Katakana}/u.test(c)) bits |= KANA;
  if (/\p{Script=Hangul}/u.test(c)) bits |= HANGUL;
  classes[point] = bits;
  return bits;
}

/** Code points by class; a surrogate that stands alone is a code point of no class. */
export function countLetters(text: string): { letters: number; han: number; kana: number; hangul: number } {
  let letters = 0;
  let han = 0;
  let kana = 0;
  let hangul = 0;
  for (let i = 0; i < text.length; i++) {
    let point = text.charCodeAt(i);
    if (point >= 0xd800 && point < 0xdc00) {
      point = text.codePointAt(i)!;
      if (point > 0xffff) i++;
    }
    const c = classes[point] || classify(point);
    letters += (c >> 1) & 1;
    if (c > 31) {
      kana += (c >> 5) & 1;
      hangul += c >> 6;
    } else han += (c >> 3) & 1;
  }
  return { letters, han, kana, hangul };
}

/** Share of Han among letters. */
export function hanShare(text: string): number {
  const { letters, han } = countLetters(text);
  return letters === 0 ? 0 : han / letters;
}

/** Words: what stands between blanks; in a mostly Chinese text each Han character is one, beside the runs of other letters and digits. */
export function wordsOf(text: string, chinese = hanShare(text) > 0.3): string[] {
  return (chinese ? text.match(/\p{Script=Han}|(?:(?!\p{Script=Han})[\p{L}\p{N}])+/gu) : text.match(/\S+/g)) ?? [];
}

/** The words of a text as numbers, in arrays that the next call fills again. */
export interface Words {
  chinese: boolean;
  count: number;
  /** Of each word: a 32-bit hash of its code units, and how many there are. */
  hashes: Uint32Array;
  lengths: Uint32Array;
  /** Code units of all words. */
  total: number;
  longest: number;
  /** Words with a letter in them. */
  withLetter: number;
}

let hashes = new Uint32Array(4096);
let lengths = new Uint32Array(4096);

/**
 * Hashes of the words of a text. `blanks`: as `wordsOf`, what stands between blanks. `letters`: runs of letters and digits. A mostly Chinese text is split into
 * Han characters and runs of others either way.
 */
export function hashWords(text: string, between: 'blanks' | 'letters', chinese = hanShare(text) > 0.3): Words {
  const inside = LETTER | NUMBER;
  let count = 0;
  let total = 0;
  let longest = 0;
  let withLetter = 0;
  let h = 0;
  let length = 0;
  let letter = 0;
  for (let i = 0; i <= text.length; i++) {
    let point = i < text.length ? text.charCodeAt(i) : 32;
    let wide = false;
    if (point >= 0xd800 && point < 0xdc00) {
      point = text.codePointAt(i)!;
      wide = point > 0xffff;
    }
    const c = classes[point] || classify(point);
    const alone = chinese && (c & HAN) !== 0;
    const part = chinese || between === 'letters' ? (c & inside) !== 0 && !alone : (c & SPACE) === 0;
    if (part && i < text.length) {
      h = length === 0 ? 0x811c9dc5 : h;
      h = Math.imul(h ^ point, 0x01000193); // FNV-1a
      length += wide ? 2 : 1;
      letter |= c & LETTER;
    } else {
      if (length > 0) push(h, length, letter);
      length = 0;
      letter = 0;
      if (alone) push(Math.imul(0x811c9dc5 ^ point, 0x01000193), wide ? 2 : 1, c & LETTER);
    }
    if (wide) i++;
  }
  return { chinese, count, hashes, lengths, total, longest, withLetter };

  function push(hash: number, size: number, letters: number): void {
    if (count === hashes.length) {
      const wider = [new Uint32Array(2 * count), new Uint32Array(2 * count)] as const;
      wider[0].set(hashes);
      wider[1].set(lengths);
      [hashes, lengths] = wider;
    }
    hash ^= hash >>> 15; // FNV's low bits are weak
    hash = Math.imul(hash, 0x2c1b3c6d);
    hashes[count] = hash ^ (hash >>> 13);
    lengths[count++] = size;
    total += size;
    if (size > longest) longest = size;
    if (letters !== 0) withLetter++;
  }
}

/** The hash that `hashWords` gives a word. */
export const wordHash = (word: string): number => hashWords(word, 'blanks', false).hashes[0];

/** Whether text[from, to) has at least `least` words, as `wordsOf` counts them. */
export function hasWords(text: string, from: number, to: number, chinese: boolean, least: number): boolean {
  let inWord = false;
  for (let i = from; i < to; i++) {
    let point = text.charCodeAt(i);
    if (point >= 0xd800 && point < 0xdc00) {
      point = text.codePointAt(i)!;
      if (point > 0xffff) i++;
    }
    const c = classes[point] || classify(point);
    if (chinese && (c & HAN) !== 0) {
      if (--least <= 0) return true;
      inWord = false;
      continue;
    }
    const part = chinese ? (c & (LETTER | NUMBER)) !== 0 : (c & SPACE) === 0;
    if (part && !inWord && --least <= 0) return true;
    inWord = part;
  }
  return least <= 0;
}
