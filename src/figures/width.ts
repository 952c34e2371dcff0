/** How many columns of a terminal a text takes: two for Han and emoji, none for combining marks (Unicode Standard Annex #11). */

/** First and last code point, in hexadecimal, of everything that is East Asian wide or fullwidth; unassigned gaps inside a block are filled. */
const wide = ranges(
  '1100-115f 231a-231b 2329-232a 23e9-23ec 23f0 23f3 25fd-25fe 2614-2615 2648-2653 267f 2693 26a1 26aa-26ab 26bd-26be 26c4-26c5 26ce 26d4 26ea ' +
    '26f2-26f3 26f5 26fa 26fd 2705 270a-270b 2728 274c 274e 2753-2755 2757 2795-2797 27b0 27bf 2b1b-2b1c 2b50 2b55 2e80-303e 3041-3247 3250-4dbf ' +
    '4e00-a4c6 a960-a97c ac00-d7a3 f900-fad9 fe10-fe19 fe30-fe6b ff01-ff60 ffe0-ffe6 16fe0-1b2fb 1f004 1f0cf 1f18e 1f191-1f19a 1f200-1f320 ' +
    '1f32d-1f335 1f337-1f37c 1f37e-1f393 1f3a0-1f3ca 1f3cf-1f3d3 1f3e0-1f3f0 1f3f4 1f3f8-1f43e 1f440 1f442-1f4fc 1f4ff-1f53d 1f54b-1f54e ' +
    '1f550-1f567 1f57a 1f595-1f596 1f5a4 1f5fb-1f64f 1f680-1f6c5 1f6cc 1f6d0-1f6d2 1f6d5-1f6df 1f6eb-1f6ec 1f6f4-1f6fc 1f7e0-1f7f0 1f90c-1f93a ' +
    '1f93c-1f945 1f947-1f9ff 1fa70-1faf8 20000-3fffd',
);

/**
 * Ambiguous characters that our pictures and texts use: one column in most terminals, two in some Chinese ones. `░` is not among them, so a row of
 * shades can mix both widths there.
 */
const ambiguous = ranges(
  'a1 a7-a8 b0-b4 b6-ba bc-bf d7 f7 391-3a9 3b1-3c9 410-44f 2010 2013-2016 2018-2019 201c-201d 2020-2022 2024-2027 2030 2032-2033 203b 2103 2116 2121-2122 ' +
    '2160-216b 2170-2179 2190-2199 21d2 21d4 2200-2237 2248 2260-2267 2282-2287 2295 22a5 2312 2460-254b 2550-2573 2580-258f 2592-2595 25a0-25a9 ' +
    '25b2-25bd 25c0-25d1 25e2-25ef 2605-2606 2640 2642 2660-266f e000-f8ff fffd',
);

function ranges(text: string): [number, number][] {
  return text.split(' ').map((r) => {
    const [first, last = first] = r.split('-');
    return [Number.parseInt(first, 16), Number.parseInt(last, 16)];
  });
}

function inside(table: readonly [number, number][], code: number): boolean {
  let low = 0;
  let high = table.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    if (code < table[middle][0]) high = middle - 1;
    else if (code > table[middle][1]) low = middle + 1;
    else return true;
  }
  return false;
}

/** What a terminal does with characters of ambiguous width. */
export type Ambiguous = 'narrow' | 'wide';

const graphemes = new Intl.Segmenter(undefined, { granularity: 'grapheme' });
const escapes = /\x1b\[[0-9;?]*[A-Za-z]|\x1b\]8;;[^\x07\x1b]*(?:\x07|\x1b\\)/g;

/** Columns of one grapheme. */
function graphemeWidth(grapheme: string, ambiguousAs: Ambiguous): number {
  const code = grapheme.codePointAt(0)!;
  if (code < 0x20 || (code >= 0x7f && code < 0xa0)) return 0;
  if (code < 0x7f) return grapheme.includes('\ufe0f') ? 2 : 1;
  if (/^[\p{Mn}\p{Me}\p{Cf}]/u.test(grapheme)) return 0;
  if (grapheme.includes('\ufe0f') && /\p{Emoji}/u.test(grapheme)) return 2;
  if (inside(wide, code)) return 2;
  if (code >= 0x1f1e6 && code <= 0x1f1ff && grapheme.length > 2) return 2; // a flag is two regional letters
  return ambiguousAs === 'wide' && inside(ambiguous, code) ? 2 : 1;
}

/** Columns that `text` takes. Escape sequences for colour take none. */
export function displayWidth(text: string, ambiguousAs: Ambiguous = 'narrow'): number {
  const plain = text.includes('\x1b') ? text.replace(escapes, '') : text;
  if (/^[\x20-\x7e]*$/.test(plain)) return plain.length;
  let width = 0;
  for (const { segment } of graphemes.segment(plain)) width += graphemeWidth(segment, ambiguousAs);
  return width;
}

/** Spaces after (or before) `text` up to `width` columns. */
export function padEnd(text: string, width: number, ambiguousAs: Ambiguous = 'narrow'): string {
  return text + ' '.repeat(Math.max(0, width - displayWidth(text, ambiguousAs)));
}
export function padStart(text: string, width: number, ambiguousAs: Ambiguous = 'narrow'): string {
  return ' '.repeat(Math.max(0, width - displayWidth(text, ambiguousAs))) + text;
}

/** `text` without colour, cut to `width` columns, the cut shown by `…`. A wide character that would stand half outside goes too. */
export function clip(text: string, width: number, ambiguousAs: Ambiguous = 'narrow'): string {
  if (displayWidth(text, ambiguousAs) <= width) return text;
  const dots = '…';
  const room = width - displayWidth(dots, ambiguousAs);
  let out = '';
  let used = 0;
  for (const { segment } of graphemes.segment(text.replace(escapes, ''))) {
    const w = graphemeWidth(segment, ambiguousAs);
    if (used + w > room) break;
    out += segment;
    used += w;
  }
  return room < 0 ? '' : out + dots;
}

/** `text` broken into lines of at most `width` columns: at spaces where there are any, between Han anywhere. */
export function wrap(text: string, width: number, ambiguousAs: Ambiguous = 'narrow'): string[] {
  const lines: string[] = [];
  let line = '';
  let used = 0;
  for (const [piece] of text.matchAll(/\s+|[^\s\u2e80-\uffef]+|[\u2e80-\uffef]/g)) {
    const w = displayWidth(piece, ambiguousAs);
    if (used + w > width && used > 0) {
      // A closing mark does not begin a line: the character before it comes along.
      const along = /^[，。、；：！？）”’》」…,.;:!?)]/.test(piece) ? ([...graphemes.segment(line)].at(-1)?.segment ?? '') : '';
      const taken = along !== line && displayWidth(along, ambiguousAs) <= 2 ? along : '';
      lines.push(line.slice(0, line.length - taken.length).trimEnd());
      line = taken;
      used = displayWidth(taken, ambiguousAs);
      if (/^\s/.test(piece)) continue;
    }
    line += piece;
    used += w;
  }
  if (line.trim() !== '' || lines.length === 0) lines.push(line.trimEnd());
  return lines;
}
