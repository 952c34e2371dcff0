/** SentencePiece's precompiled normalization map (`precompiled_charsmap`): a double-array trie of UTF-8 keys, and the texts they become. */
import { tokenizerError } from './tokenizer.ts';
import { utf8Bytes, utf8Text } from './utf8.ts';

/**
 * Layout: u32 size of the trie in bytes · the trie as u32 units · replacement texts, each ended by NUL.
 * A unit (Yata 2008, darts-clone): bit 31 leaf flag; bits 0–7 label; bit 8 has-leaf; offset bits 10–30, shifted by 8 more when bit 9 is set.
 */
export class Charsmap {
  readonly #trie: Uint32Array;
  readonly #texts: Uint8Array;
  /** Which bytes begin a key. */
  readonly #begins = new Uint8Array(256);
  /** How many bytes the key of the last `longest` has; 0 where none was found. */
  matched = 0;

  constructor(blob: Uint8Array, where: string) {
    if (blob.length < 4) throw tokenizerError(`${where}: the precompiled charsmap is cut short`);
    const view = new DataView(blob.buffer, blob.byteOffset, blob.byteLength);
    const trieBytes = view.getUint32(0, true);
    if (trieBytes % 4 !== 0 || trieBytes + 4 > blob.length)
      throw tokenizerError(`${where}: the precompiled charsmap says its trie has ${trieBytes} bytes; ${blob.length - 4} follow`);
    this.#trie = new Uint32Array(trieBytes / 4);
    for (let i = 0; i < this.#trie.length; i++) this.#trie[i] = view.getUint32(4 + 4 * i, true);
    this.#texts = blob.subarray(4 + trieBytes);
    const root = this.#trie.length ? offset(this.#trie[0]) : 0;
    for (let b = 1; b < 256; b++) this.#begins[b] = this.#labelAt(root ^ b) === b ? 1 : 0;
  }

  #labelAt(node: number): number {
    return node < this.#trie.length ? (this.#trie[node] & 0x800000ff) >>> 0 : -1;
  }

  /** Does any key begin with this byte? */
  begins(byte: number): boolean {
    return this.#begins[byte] === 1;
  }

  /** What the longest key at `from` becomes, as bytes; `matched` tells the length of the key. `shortest`: the first key instead. */
  find(bytes: Uint8Array, from = 0, shortest = false): Uint8Array {
    const trie = this.#trie;
    this.matched = 0;
    let value = 0;
    let node = offset(trie[0] ?? 0);
    for (let i = from; i < bytes.length; i++) {
      const b = bytes[i];
      if (b === 0) break;
      node ^= b;
      if (this.#labelAt(node) !== b) break;
      const unit = trie[node];
      node ^= offset(unit);
      if ((unit >>> 8) & 1 && node < trie.length) {
        this.matched = i + 1 - from;
        value = trie[node] & 0x7fffffff;
        if (shortest) break;
      }
    }
    if (this.matched === 0) return none;
    let end = value;
    while (end < this.#texts.length && this.#texts[end] !== 0) end++;
    return this.#texts.subarray(value, end);
  }
}

const none = new Uint8Array(0);
const offset = (unit: number): number => (unit >>> 10) << ((unit & (1 << 9)) >>> 6);

/** The normalizer `Precompiled` of `tokenizer.json`, as the official package applies it: to graphemes, each by the shortest key that begins it. */
export function readCharsmap(base64: string): (text: string) => string {
  const map = new Charsmap(base64Bytes(base64), 'tokenizer.json');
  const lookUp = (bytes: Uint8Array): string | undefined => {
    const replacement = map.find(bytes, 0, true);
    return map.matched > 0 ? utf8Text(replacement) : undefined;
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

export function base64Bytes(base64: string, where = 'the precompiled charsmap'): Uint8Array {
  let binary: string;
  try {
    binary = atob(base64);
  } catch {
    throw tokenizerError(`${where} is not base64`);
  }
  return Uint8Array.from(binary, (c) => c.charCodeAt(0));
}

export function toBase64(bytes: Uint8Array): string {
  let binary = '';
  for (let i = 0; i < bytes.length; i += 8192) binary += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return btoa(binary);
}
