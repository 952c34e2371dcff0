/** What a tokenizer is: text to integer ids and back. It never sees a tensor. */
import { QkvError } from '../errors.ts';
import { hexBytes, utf8Stream, utf8Text } from './utf8.ts';

export interface EncodeOptions {
  /** Read special tokens (`<|endoftext|>`, `[SEP]`) in the text as their ids. Off: text is text, whatever it looks like. */
  special?: boolean;
  /** Add what the model expects around one text (`[CLS] … [SEP]`, `<s> …`), as the tokenizer's post-processor says. */
  addSpecialTokens?: boolean;
  /** Called with the number of lone surrogates that became U+FFFD, when there were any. */
  onLoneSurrogates?: (count: number) => void;
}

export interface DecodeOptions {
  /** Leave special tokens out of the text. */
  skipSpecial?: boolean;
}

/** Text ↔ ids. Every error is a `QkvError` with code `TOKENIZER`. */
export interface Tokenizer {
  readonly kind: 'char' | 'byte' | 'bpe' | 'wordpiece' | 'wordlevel' | 'unigram';
  /** Rows that an embedding needs: the highest id + 1. */
  readonly vocabSize: number;
  /** Special tokens with their ids, in the order of their ids. */
  readonly specialTokens: ReadonlyMap<string, number>;
  /** Text → ids. */
  encode(text: string, options?: EncodeOptions): Int32Array;
  /** Ids → text; bytes that are not UTF-8 become U+FFFD. Throws on an id outside the vocabulary. */
  decode(ids: ArrayLike<number>, options?: DecodeOptions): string;
  /** The bytes that a token adds to the text; `atStart`: as the first token of a text (some families drop a leading blank there). */
  tokenBytes(id: number, atStart?: boolean): Uint8Array;
  tokenToId(token: string): number | undefined;
  /** The token as the vocabulary file writes it (`Ġthe`, `##ing`, `▁a`). */
  idToToken(id: number): string | undefined;
}

/** The error of every refusal in this folder. */
export function tokenizerError(message: string, values: Record<string, unknown> = {}): QkvError {
  return new QkvError('TOKENIZER', message, values);
}

/** Ids that arrive one at a time → text in whole characters. */
export interface DecodeStream {
  /** The characters that this id completes; may be empty. */
  push(id: number): string;
  /** What is still held back; a character that never became whole is U+FFFD. */
  end(): string;
}

/**
 * Decode while ids arrive. A character whose bytes are split over tokens is held back until it is whole, so `�` is shown only where
 * the bytes can no longer become a character. The pieces joined equal `tokenizer.decode(ids)`.
 */
export function decodeStream(tokenizer: Tokenizer, { skipSpecial = false }: DecodeOptions = {}): DecodeStream {
  const utf8 = utf8Stream();
  const specials = new Set(tokenizer.specialTokens.values());
  let atStart = true;
  return {
    push(id) {
      if (skipSpecial && specials.has(id)) return '';
      const bytes = tokenizer.tokenBytes(id, atStart);
      atStart = false;
      return utf8.push(bytes);
    },
    end: () => utf8.end(),
  };
}

export interface TokenDescription {
  id: number;
  /** As the vocabulary writes it. */
  token: string;
  /** For a person: the characters with blanks made visible; bytes that are no whole character as `<e4 bd>`. Never `�` for a broken character. */
  text: string;
  /** `e4 bd a0` */
  hex: string;
  special: boolean;
}

/** A token as a person reads it: ` the` → `␣the`, half a character → `<e4 bd>`. */
export function describeToken(tokenizer: Tokenizer, id: number): TokenDescription {
  const bytes = tokenizer.tokenBytes(id);
  return {
    id,
    token: tokenizer.idToToken(id) ?? '',
    text: visibleText(bytes),
    hex: hexBytes(bytes),
    special: [...tokenizer.specialTokens.values()].includes(id),
  };
}

/** Bytes as visible text: whole characters as they are, blanks and controls as symbols, the rest in angle brackets as hex. */
function visibleText(bytes: Uint8Array): string {
  let out = '';
  let broken: number[] = [];
  const flush = () => {
    if (broken.length) out += `<${hexBytes(Uint8Array.from(broken))}>`;
    broken = [];
  };
  for (let i = 0; i < bytes.length; ) {
    const width = characterWidth(bytes, i);
    if (width === 0) broken.push(bytes[i++]);
    else {
      flush();
      out += visibleCharacter(utf8Text(bytes.subarray(i, i + width)));
      i += width;
    }
  }
  flush();
  return out;
}

/** Length in bytes of the valid UTF-8 character at `i`; 0 where there is none. */
function characterWidth(bytes: Uint8Array, i: number): number {
  const lead = bytes[i];
  const width = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
  if (width < 2) return width;
  if (i + width > bytes.length) return 0;
  const slice = bytes.subarray(i, i + width);
  const text = utf8Text(slice);
  return text !== '\ufffd'
    ? text.includes('\ufffd')
      ? 0
      : width
    : width === 3 && lead === 0xef && slice[1] === 0xbf
      ? width
      : 0;
}

const visible: Readonly<Record<string, string>> = { ' ': '␣', '\n': '⏎', '\r': '␍', '\t': '⇥' };

function visibleCharacter(char: string): string {
  if (visible[char]) return visible[char];
  // Controls, formats, separators, private and unassigned code points have no shape of their own; U+FFFD itself is named, not shown.
  return /[\p{C}\p{Z}\ufffd]/u.test(char) ? `<U+${char.codePointAt(0)!.toString(16).toUpperCase().padStart(4, '0')}>` : char;
}
