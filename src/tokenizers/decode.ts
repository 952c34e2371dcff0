/** Decoders of `tokenizer.json`: a token → the bytes it adds to the text. */
import { fromByteAlphabet } from './byte-alphabet.ts';
import { patternOf } from './normalize.ts';
import type { PatternSpec } from './normalize.ts';
import type { PrependScheme } from './pretokenize.ts';
import { tokenizerError } from './tokenizer.ts';
import { utf8Bytes } from './utf8.ts';

export type DecoderSpec =
  | { type: 'Sequence'; decoders: DecoderSpec[] }
  | { type: 'ByteLevel' | 'ByteFallback' | 'Fuse'; add_prefix_space?: boolean; trim_offsets?: boolean; use_regex?: boolean }
  | { type: 'WordPiece'; prefix?: string; cleanup?: boolean }
  | { type: 'Metaspace'; replacement?: string; prepend_scheme?: PrependScheme; add_prefix_space?: boolean; split?: boolean }
  | { type: 'Replace'; pattern: PatternSpec; content: string }
  | { type: 'Strip'; content: string; start: number; stop: number };

/** The bytes that a token adds: `atStart` as the first of a text; `added` for added tokens, which are text and not the byte alphabet. */
export type TokenDecoder = (token: string, atStart: boolean, added: boolean) => Uint8Array;

type Step = (piece: string | Uint8Array, atStart: boolean, added: boolean) => string | Uint8Array;

/**
 * Every decoder that is supported looks at one token and at whether it is the first, so that decoding is a concatenation and can stream.
 * Two differences from the official package: there a run of `<0x..>` tokens that is not UTF-8 becomes one U+FFFD for each byte; here the bytes
 * are joined and each maximal invalid part is one U+FFFD, so that streaming equals decoding at once. And there an added token of letters that the byte
 * alphabet has (`é`, `Ġ`) is read as bytes under ByteLevel, so that `é` comes back as U+FFFD; here it is its text.
 */
export function compileDecoder(spec: DecoderSpec | null): TokenDecoder {
  const flat = spec ? flatten(spec) : [];
  flat.forEach(refuseWhatSpansTokens);
  const steps = spec ? flat.map(compileStep) : [joinWithBlanks];
  return (token, atStart, added) => {
    let piece: string | Uint8Array = token;
    for (const step of steps) piece = step(piece, atStart, added);
    return typeof piece === 'string' ? utf8Bytes(piece) : piece;
  };
}

/** Without a decoder the official package puts a blank between tokens. */
const joinWithBlanks: Step = (piece, atStart) => (atStart ? piece : ` ${piece}`);

function flatten(spec: DecoderSpec): DecoderSpec[] {
  return spec.type === 'Sequence' ? spec.decoders.flatMap(flatten) : [spec];
}

/**
 * After ByteLevel and Fuse the text is one piece, and after ByteFallback a run of bytes is: what a later step would do across tokens is refused.
 * Strip stands as in Llama's files, at most one character at the start; a replacement of single characters is the same before Fuse and after.
 */
function refuseWhatSpansTokens(step: DecoderSpec, i: number, all: readonly DecoderSpec[]): void {
  const joins = all.slice(0, i).filter(({ type }) => type === 'ByteLevel' || type === 'Fuse' || type === 'ByteFallback');
  const fused = joins.some(({ type }) => type !== 'ByteFallback');
  const fits =
    joins.length === 0 ||
    step.type === 'Fuse' ||
    (step.type === 'Strip' && fused && step.start <= 1) ||
    (step.type === 'Replace' &&
      joins.every(({ type }) => type === 'Fuse') &&
      'String' in step.pattern &&
      Array.from(step.pattern.String).length === 1);
  if (!fits)
    throw tokenizerError(
      `tokenizer.json: the decoder ${step.type} after ${joins.at(-1)!.type}, where it sees more than one token, is not supported`,
    );
}

function onText(step: (text: string, atStart: boolean) => string): Step {
  return (piece, atStart) => (typeof piece === 'string' ? step(piece, atStart) : piece);
}

function compileStep(spec: DecoderSpec, i: number, all: DecoderSpec[]): Step {
  switch (spec.type) {
    case 'ByteLevel':
      return (piece, _atStart, added) => (typeof piece === 'string' && !added ? (fromByteAlphabet(piece) ?? piece) : piece);
    case 'ByteFallback':
      return (piece) => {
        const byte = typeof piece === 'string' ? /^<0x([0-9A-Fa-f]{2})>$/.exec(piece) : null;
        return byte ? Uint8Array.of(Number.parseInt(byte[1], 16)) : piece;
      };
    case 'Fuse':
      return (piece) => piece;
    case 'WordPiece': {
      const { prefix = '##', cleanup = true } = spec;
      return onText((text, atStart) => {
        const joined = atStart ? text : text.startsWith(prefix) ? text.slice(prefix.length) : ` ${text}`;
        return cleanup ? cleanUp(joined) : joined;
      });
    }
    case 'Metaspace': {
      const { replacement = '▁', add_prefix_space: old, prepend_scheme: scheme = old === false ? 'never' : 'always' } = spec;
      return onText((text, atStart) => text.replaceAll(replacement, atStart && scheme !== 'never' ? '' : ' '));
    }
    case 'Replace': {
      const pattern = patternOf(spec.pattern);
      return onText((text) => text.replace(pattern, () => spec.content));
    }
    case 'Strip': {
      if (spec.stop > 0)
        throw tokenizerError('tokenizer.json: a Strip decoder at the end of the text is not supported', { stop: spec.stop });
      // After Fuse the text is one piece, so only its first token is stripped; before, every token is.
      const fused = all.slice(0, i).some(({ type }) => type === 'Fuse' || type === 'ByteLevel');
      const content = utf8Bytes(spec.content);
      return (piece, atStart) => {
        if (fused && !atStart) return piece;
        let cut = 0;
        if (typeof piece === 'string') {
          while (cut < spec.start && piece.startsWith(spec.content, cut * spec.content.length)) cut++;
          return piece.slice(cut * spec.content.length);
        }
        const starts = (): boolean => content.every((byte, k) => piece[cut * content.length + k] === byte);
        while (cut < spec.start && starts()) cut++;
        return piece.subarray(cut * content.length);
      };
    }
    default:
      throw tokenizerError(`tokenizer.json: the decoder ${JSON.stringify((spec as { type?: unknown }).type)} is not supported`);
  }
}

/** English without the blanks that BERT's pre-tokenizer put before marks and contractions. */
function cleanUp(text: string): string {
  return text
    .replaceAll(' .', '.')
    .replaceAll(' ?', '?')
    .replaceAll(' !', '!')
    .replaceAll(' ,', ',')
    .replaceAll(" ' ", "'")
    .replaceAll(" n't", "n't")
    .replaceAll(" 'm", "'m")
    .replaceAll(' do not', " don't")
    .replaceAll(" 's", "'s")
    .replaceAll(" 've", "'ve")
    .replaceAll(" 're", "'re");
}
