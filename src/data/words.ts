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

let units = new Uint16Array(1 << 16);
let unitBytes = Buffer.from(units.buffer);

/** The code units of a text, in an array that the next call fills again: reading it takes a fifth of the time of `charCodeAt`. One more unit, a blank, follows. */
export function unitsOf(text: string): Uint16Array {
  if (text.length >= units.length) {
    units = new Uint16Array(2 * text.length);
    unitBytes = Buffer.from(units.buffer);
  }
  unitBytes.write(text, 'utf16le');
  units[text.length] = 32;
  return units;
}

/** The code point of a pair of surrogates, or the first of them where no pair is. */
const pairAt = (u: Uint16Array, i: number): number =>
  (u[i + 1] & 0xfc00) === 0xdc00 ? 0x10000 + ((u[i] & 0x3ff) << 10) + (u[i + 1] & 0x3ff) : u[i];

export interface Letters {
  letters: number;
  han: number;
  kana: number;
  hangul: number;
}
let counted: (Letters & { text: string }) | undefined;

/** Code points by class; a surrogate that stands alone is a code point of no class. Asked again about the same text it answers at once. */
export function countLetters(text: string): Letters {
  if (counted?.text === text) return counted;
  let letters = 0;
  let han = 0;
  let kana = 0;
  let hangul = 0;
  const u = unitsOf(text);
  const end = text.length;
  for (let i = 0; i < end; i++) {
    let point = u[i];
    if ((point & 0xfc00) === 0xd800) {
      point = pairAt(u, i);
      if (point > 0xffff) i++;
    }
    const c = classes[point] || classify(point);
    letters += (c >> 1) & 1;
    if (c > 31) {
      kana += (c >> 5) & 1;
      hangul += c >> 6;
    } else han += (c >> 3) & 1;
  }
  counted = { text, letters, han, kana, hangul };
  return counted;
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

const words: Words = {
  chinese: false,
  count: 0,
  hashes: new Uint32Array(4096),
  lengths: new Uint32Array(4096),
  total: 0,
  longest: 0,
  withLetter: 0,
};
/** What `words` holds. */
let held: { text: string; between: 'blanks' | 'letters'; chinese: boolean } | undefined;

/**
 * Hashes of the words of a text. `blanks`: as `wordsOf`, what stands between blanks. `letters`: runs of letters and digits. A mostly Chinese text is split into
 * Han characters and runs of others either way. Asked again about the same text it answers at once.
 */
export function hashWords(text: string, between: 'blanks' | 'letters', chinese = hanShare(text) > 0.3): Words {
  if (held && held.between === between && held.chinese === chinese && held.text === text) return words;
  // A word has a character at least, and a blank after it where it is no Han character.
  const most = chinese || between === 'letters' ? text.length : (text.length >> 1) + 1;
  if (most > words.hashes.length) {
    words.hashes = new Uint32Array(2 * most);
    words.lengths = new Uint32Array(2 * most);
  }
  const { hashes, lengths } = words;
  const byClass = chinese || between === 'letters';
  let count = 0;
  let total = 0;
  let longest = 0;
  let withLetter = 0;
  let h = 0x811c9dc5;
  let length = 0;
  let letter = 0;
  const u = unitsOf(text);
  const end = text.length;
  for (let i = 0; i < end; i++) {
    let point = u[i];
    let width = 1;
    if ((point & 0xfc00) === 0xd800) {
      point = pairAt(u, i);
      if (point > 0xffff) {
        i++;
        width = 2;
      }
    }
    const c = classes[point] || classify(point);
    const alone = chinese && (c & HAN) !== 0;
    if (!alone && (byClass ? (c & (LETTER | NUMBER)) !== 0 : (c & SPACE) === 0)) {
      h = Math.imul(h ^ point, 0x01000193); // FNV-1a
      length += width;
      letter |= c & LETTER;
      continue;
    }
    if (length > 0) {
      hashes[count] = mixed(h);
      lengths[count++] = length;
      total += length;
      if (length > longest) longest = length;
      withLetter += letter >> 1;
      h = 0x811c9dc5;
      length = 0;
      letter = 0;
    }
    if (alone) {
      hashes[count] = mixed(Math.imul(0x811c9dc5 ^ point, 0x01000193));
      lengths[count++] = width;
      total += width;
      if (width > longest) longest = width;
      withLetter += (c & LETTER) >> 1;
    }
  }
  if (length > 0) {
    hashes[count] = mixed(h);
    lengths[count++] = length;
    total += length;
    if (length > longest) longest = length;
    withLetter += letter >> 1;
  }
  held = { text, between, chinese };
  return Object.assign(words, { chinese, count, total, longest, withLetter });
}

/** FNV's low bits are weak. */
function mixed(h: number): number {
  h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d);
  return h ^ (h >>> 13);
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
