/** The normalizer of the SentencePiece library: its character map by longest match, blanks made one and written as `▁`, and one more before the text. */
import { base64Bytes, Charsmap } from './charsmap.ts';
import { CharTrie } from './char-trie.ts';
import { utf8Bytes, utf8Text } from './utf8.ts';

export interface SentencePieceNormalizer {
  type: 'SentencePiece';
  /** The precompiled character map, base64; '' for none. */
  charsmap: string;
  /** A blank before the text, so that its first word is like any other. */
  addDummyPrefix: boolean;
  /** Blanks in a row are one, and none are left at the ends. */
  removeExtraWhitespaces: boolean;
  /** Blanks are written `▁`. */
  escapeWhitespaces: boolean;
  /** The blank of `addDummyPrefix` stands at the end instead. */
  whitespaceAsSuffix: boolean;
  /** Texts that are kept as they are. */
  userDefined: string[];
}

const space = 0x20;
const lowerOneEighthBlock = [0xe2, 0x96, 0x81];

export function compileSentencePiece(spec: SentencePieceNormalizer): (text: string) => string {
  const run = normalizerOf(spec);
  return (text) => run(text, undefined);
}

/** The same with the place in the text, in UTF-16 units, that each unit of the result came from. */
export function alignSentencePiece(
  spec: SentencePieceNormalizer,
): (text: string) => { text: string; from: Int32Array; to: Int32Array } {
  const run = normalizerOf(spec);
  return (text) => {
    const unitOfByte: number[] = [];
    for (let i = 0; i < text.length; ) {
      const code = text.codePointAt(i)!;
      for (let b = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4; b > 0; b--) unitOfByte.push(i);
      i += code > 0xffff ? 2 : 1;
    }
    unitOfByte.push(text.length);
    // Of each byte of the result the range of bytes that it came from.
    const origin: [number, number][] = [];
    const result = run(text, origin);
    const [from, to] = [new Int32Array(result.length), new Int32Array(result.length)];
    let byte = 0;
    for (let i = 0; i < result.length; ) {
      const code = result.codePointAt(i)!;
      const width = code > 0xffff ? 2 : 1;
      for (let k = 0; k < width; k++) [from[i + k], to[i + k]] = [unitOfByte[origin[byte][0]], unitOfByte[origin[byte][1]]];
      byte += code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
      i += width;
    }
    return { text: result, from, to };
  };
}

function normalizerOf(spec: SentencePieceNormalizer): (text: string, origin: [number, number][] | undefined) => string {
  const map = spec.charsmap === '' ? undefined : new Charsmap(base64Bytes(spec.charsmap), 'SentencePiece model');
  const kept = spec.userDefined.length ? new CharTrie() : undefined;
  spec.userDefined.forEach((text, i) => {
    kept?.add(text, i);
  });
  const { removeExtraWhitespaces: trim, escapeWhitespaces: mark, addDummyPrefix: dummy, whitespaceAsSuffix: suffix } = spec;
  const blank = mark ? lowerOneEighthBlock : [space];

  return (text, origin) => {
    const bytes = utf8Bytes(text);
    const keptEnds = kept ? endsOfKept(text, kept) : undefined;
    let out = new Uint8Array(bytes.length * 3 + 16);
    let n = 0;
    // One step: what the text at `at` becomes lies in `from[start … end)`, and `at + width` is where the next begins.
    let at = 0;
    let [from, start, end, width]: [Uint8Array, number, number, number] = [bytes, 0, 0, 0];
    const put = (from: Uint8Array, start: number, end: number): void => {
      if (n + (end - start) * 3 + 6 > out.length) {
        const larger = new Uint8Array((n + (end - start) * 3 + 6) * 2);
        larger.set(out);
        out = larger;
      }
      for (let i = start; i < end; i++) {
        if (from[i] === space) for (const b of blank) out[n++] = b;
        else out[n++] = from[i];
      }
      // A character that is kept keeps its own place; one that is replaced has the place of all that it replaces.
      while (origin && origin.length < n) origin.push([at, at + width]);
    };
    const addBlank = (): void => {
      for (const b of blank) out[n++] = b;
      while (origin && origin.length < n) origin.push([Math.min(at, bytes.length - 1), Math.min(at + 1, bytes.length)]);
    };

    const step = (at: number): void => {
      const keptEnd = keptEnds?.get(at);
      const replacement = keptEnd === undefined && map?.begins(bytes[at]) ? map.find(bytes, at) : undefined;
      if (replacement && map!.matched > 0) [from, start, end, width] = [replacement, 0, replacement.length, map!.matched];
      else {
        width = keptEnd === undefined ? characterWidth(bytes[at]) : keptEnd - at;
        [from, start, end] = [bytes, at, at + width];
      }
    };

    if (trim)
      for (; at < bytes.length; at += width) {
        step(at);
        if (end - start !== 1 || from[start] !== space) break;
      }
    if (at >= bytes.length) return '';
    if (dummy && !suffix) addBlank();
    let afterBlank = trim;
    for (; at < bytes.length; at += width) {
      step(at);
      if (afterBlank) while (start < end && from[start] === space) start++;
      if (start < end) {
        put(from, start, end);
        afterBlank = trim && from[end - 1] === space;
      }
    }
    if (trim) while (n >= blank.length && blank.every((b, i) => out[n - blank.length + i] === b)) n -= blank.length;
    if (dummy && suffix) addBlank();
    return utf8Text(out.subarray(0, n));
  };
}

const characterWidth = (lead: number): number => (lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4);

/** Where texts that are kept begin and end, in bytes: the longest at each place, whatever stands before it. */
function endsOfKept(text: string, kept: CharTrie): Map<number, number> {
  const ends = new Map<number, number>();
  let byte = 0;
  for (let i = 0; i < text.length; ) {
    if (kept.longest(text, i) >= 0) ends.set(byte, byte + utf8Bytes(text.slice(i, kept.end)).length);
    const code = text.codePointAt(i)!;
    byte += code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    i += code > 0xffff ? 2 : 1;
  }
  return ends;
}
