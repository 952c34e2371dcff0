/** SentencePiece's precompiled normalization map (`precompiled_charsmap`): a double-array trie of UTF-8 keys, and the texts they become. */
import { tokenizerError } from './tokenizer.ts';
import { utf8Bytes, utf8Text } from './utf8.ts';

/**
 * Layout: u32 size of the trie in bytes · the trie as u32 units · replacement texts, each ended by NUL.
 * A unit (Yata 2008, darts-clone): bit 31 leaf flag; bits 0–7 label; bit 8 has-leaf; offset bits 10–30, shifted by 8 more when bit 9 is set.
 */
export function readCharsmap(base64: string): (text: string) => string {
  const blob = base64Bytes(base64);
  if (blob.length < 4) throw tokenizerError('tokenizer.json: the precompiled charsmap is cut short');
  const view = new DataView(blob.buffer, blob.byteOffset, blob.byteLength);
  const trieBytes = view.getUint32(0, true);
  if (trieBytes % 4 !== 0 || trieBytes + 4 > blob.length)
    throw tokenizerError(
      `tokenizer.json: the precompiled charsmap says its trie has ${trieBytes} bytes; ${blob.length - 4} follow`,
    );
  const trie = Uint32Array.from({ length: trieBytes / 4 }, (_, i) => view.getUint32(4 + 4 * i, true));
  const texts = blob.subarray(4 + trieBytes);

  const offset = (unit: number) => (unit >>> 10) << ((unit & (1 << 9)) >>> 6);
  const replacement = (start: number): string => {
    let end = start;
    while (end < texts.length && texts[end] !== 0) end++;
    return utf8Text(texts.subarray(start, end));
  };

  /** What the shortest key that begins these bytes becomes (the official package takes the first of the common prefixes). */
  const lookUp = (bytes: Uint8Array): string | undefined => {
    let node = 0;
    let unit = trie[0] ?? 0;
    node ^= offset(unit);
    for (const b of bytes) {
      if (b === 0) return undefined;
      node ^= b;
      unit = trie[node];
      if (unit === undefined || (unit & 0x800000ff) >>> 0 !== b) return undefined;
      node ^= offset(unit);
      if ((unit >>> 8) & 1) {
        const leaf = trie[node];
        return leaf === undefined ? undefined : replacement(leaf & 0x7fffffff);
      }
    }
    return undefined;
  };

  const graphemes = new Intl.Segmenter('en', { granularity: 'grapheme' });
  return (text) => {
    if (/^[\x21-\x7e]*$/.test(text)) return text;
    let out = '';
    for (const { segment } of graphemes.segment(text)) {
      const bytes = utf8Bytes(segment);
      const whole = bytes.length < 6 ? lookUp(bytes) : undefined;
      if (whole !== undefined) out += whole;
      else for (const char of segment) out += lookUp(utf8Bytes(char)) ?? char;
    }
    return out;
  };
}

function base64Bytes(base64: string): Uint8Array {
  let binary: string;
  try {
    binary = atob(base64);
  } catch {
    throw tokenizerError('tokenizer.json: the precompiled charsmap is not base64');
  }
  return Uint8Array.from(binary, (c) => c.charCodeAt(0));
}
