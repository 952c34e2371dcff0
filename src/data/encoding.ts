/** Which encoding are these bytes in? UTF-8 is checked exactly, the others are guessed from the shape of their bytes. */
import { isUtf8 } from 'node:buffer';

/** An encoding that we can read, or can name in a message. */
export type Encoding = 'utf-8' | 'gbk' | 'big5' | 'latin1' | 'utf-16le' | 'utf-16be';

/** Index of the first byte that breaks UTF-8 (overlong forms, surrogates and values over U+10FFFF included), or −1.  RFC 3629 §4. */
export function firstInvalidUtf8(bytes: Uint8Array, from = 0): number {
  if (isUtf8(bytes.subarray(from))) return -1;
  let i = from;
  while (i < bytes.length) {
    const lead = bytes[i];
    if (lead < 0x80) {
      i++;
      continue;
    }
    const following = lead >= 0xc2 && lead <= 0xdf ? 1 : lead >= 0xe0 && lead <= 0xef ? 2 : lead >= 0xf0 && lead <= 0xf4 ? 3 : 0;
    if (following === 0) return i;
    // The second byte carries the rules against overlong forms, surrogates and too large values; the rest are 80 … BF.
    const low = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
    const high = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
    for (let k = 1; k <= following; k++) {
      const byte = bytes[i + k]; // undefined past the end: fails both comparisons below
      if (!(byte >= (k === 1 ? low : 0x80) && byte <= (k === 1 ? high : 0xbf))) return i;
    }
    i += following + 1;
  }
  return -1;
}

/** UTF-16 by its byte order mark, or by NUL bytes on one side of most pairs; undefined when it is not. */
export function looksLikeUtf16(head: Uint8Array): 'utf-16le' | 'utf-16be' | undefined {
  if (head.length < 2) return undefined;
  if (head[0] === 0xff && head[1] === 0xfe) return 'utf-16le';
  if (head[0] === 0xfe && head[1] === 0xff) return 'utf-16be';
  const pairs = Math.min(head.length, 4096) >> 1;
  if (pairs < 2) return undefined;
  let evenNul = 0;
  let oddNul = 0;
  for (let p = 0; p < pairs; p++) {
    if (head[2 * p] === 0) evenNul++;
    if (head[2 * p + 1] === 0) oddNul++;
  }
  if (oddNul > 0.3 * pairs && evenNul === 0) return 'utf-16le';
  if (evenNul > 0.3 * pairs && oddNul === 0) return 'utf-16be';
  return undefined;
}

/**
 * Guesses an encoding for bytes that are not UTF-8, from the double bytes in them.
 * GB2312's Han lie at lead B0–F7, trail A1–FE; Big5's at lead A4–F9 with some four trails in ten below 7F, where GB2312 has none; in Latin-1 a high byte stands alone among ASCII letters.
 */
export function guessEncoding(bytes: Uint8Array): Encoding | 'unknown' {
  const utf16 = looksLikeUtf16(bytes);
  if (utf16) return utf16;
  let gb = 0; // pairs in GB2312's area (Han, and A1–A9 for its punctuation)
  let big5 = 0; // pairs only Big5 has, with a low trail byte
  let pairs = 0;
  let alone = 0;
  for (let i = 0; i < bytes.length; i++) {
    const lead = bytes[i];
    if (lead < 0x80) continue;
    const trail = bytes[i + 1];
    if (trail === undefined) break; // may be cut
    if (lead === 0x80 || lead === 0xff || trail < 0x40 || trail === 0x7f || trail === 0xff) {
      alone++;
      continue;
    }
    if (trail < 0x80) {
      if (lead >= 0xa4 && lead <= 0xf9) big5++;
      if (i > 0 && isLetter(bytes[i - 1]) && isLetter(trail)) alone++;
    } else if (trail >= 0xa1 && ((lead >= 0xb0 && lead <= 0xf7) || (lead >= 0xa1 && lead <= 0xa9))) gb++;
    pairs++;
    i++;
  }
  if (alone > 0 && alone >= 0.3 * (pairs + alone)) return 'latin1';
  if (pairs === 0) return 'unknown';
  if (big5 > 0.1 * pairs && decodes(bytes, 'big5')) return 'big5';
  if (gb > 0.6 * pairs && decodes(bytes, 'gb18030')) return 'gbk';
  return 'unknown';
}

const isLetter = (byte: number) => (byte | 32) >= 0x61 && (byte | 32) <= 0x7a;

function decodes(bytes: Uint8Array, label: string): boolean {
  try {
    new TextDecoder(label, { fatal: true }).decode(bytes, { stream: true }); // stream: a character cut at the end is not a fault
    return true;
  } catch {
    return false;
  }
}

const MAGIC: [name: string, bytes: number[]][] = [
  ['a gzip archive', [0x1f, 0x8b]],
  ['a zip archive (or .docx, .epub, .xlsx)', [0x50, 0x4b, 3, 4]],
  ['a Zstandard archive', [0x28, 0xb5, 0x2f, 0xfd]],
  ['an xz archive', [0xfd, 0x37, 0x7a, 0x58, 0x5a]],
  ['a bzip2 archive', [0x42, 0x5a, 0x68, 0x39]],
  ['a Parquet table', [0x50, 0x41, 0x52, 0x31]],
  ['a PDF', [0x25, 0x50, 0x44, 0x46, 0x2d]],
  ['a PNG image', [0x89, 0x50, 0x4e, 0x47]],
  ['a JPEG image', [0xff, 0xd8, 0xff]],
  ['a SQLite data base', [0x53, 0x51, 0x4c, 0x69, 0x74, 0x65, 0x20, 0x66]],
  ['a program', [0x7f, 0x45, 0x4c, 0x46]],
  ['token shards of qkv', [0x71, 0x6b, 0x76, 0x74, 0x6f, 0x6b, 0x65, 0x6e]],
];

/** What a file that is no text looks like, from its first bytes; undefined when nothing speaks against text. */
export function looksBinary(head: Uint8Array): string | undefined {
  for (const [name, magic] of MAGIC) if (magic.every((b, i) => head[i] === b)) return name;
  if (head.length > 262 && Buffer.from(head.subarray(257, 262)).toString('latin1') === 'ustar') return 'a tar archive';
  return undefined;
}

/** The bytes of `chunks`, read as `encoding`, written again as UTF-8, a chunk at a time. Throws TypeError where the bytes do not fit the encoding. */
export async function* toUtf8(chunks: AsyncIterable<Uint8Array>, encoding: Encoding, fatal = true): AsyncGenerator<Uint8Array> {
  const decoder = new TextDecoder(encoding === 'gbk' ? 'gb18030' : encoding, { fatal }); // GB18030 is GBK's superset
  for await (const chunk of chunks) yield Buffer.from(decoder.decode(chunk, { stream: true }));
  yield Buffer.from(decoder.decode());
}
