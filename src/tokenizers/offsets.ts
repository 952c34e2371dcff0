/**
 * Where each token stands in the text: the pipeline once more, slower, on text that remembers where it came from. Offsets equal the official package's, but for
 * corners that no published file has: several marks that NFC puts into another order (one place off), bytes of a character together with marks of the parts of
 * a word, and unknown tokens between such bytes. The ids are `encode`'s everywhere.
 */
import type { AddedTokenFinder } from './added-tokens.ts';
import { alignedText, alignNormalizer, prepend, slice } from './aligned.ts';
import type { Aligned } from './aligned.ts';
import { Bpe } from './bpe.ts';
import { toByteAlphabet } from './byte-alphabet.ts';
import { IdList } from './ids.ts';
import type { Model } from './model.ts';
import type { PipelineParts } from './pipeline.ts';
import type { PostProcessorSpec } from './postprocess.ts';
import { compilePreTokenizer } from './pretokenize.ts';
import type { PreTokenizerSpec } from './pretokenize.ts';
import { Unigram } from './unigram.ts';
import { replaceLoneSurrogates, utf8Bytes } from './utf8.ts';

/** UTF-16 units (so that `text.slice(start, end)` is what the token covers), characters (code points), or UTF-8 bytes. */
export type OffsetUnit = 'utf16' | 'character' | 'byte';

export interface EncodingWithOffsets {
  ids: Int32Array;
  /** Start and end of token i at 2i and 2i + 1; (0, 0) for tokens that a frame adds. A token that is part of a character has the whole character. */
  offsets: Int32Array;
}

type Step = (source: Aligned, atStart: boolean) => Aligned[];

/** Encode a text without its frame; `offsets` in UTF-16 units. */
export function compileOffsets(
  parts: Required<PipelineParts>,
  raw: AddedTokenFinder,
  normalized: AddedTokenFinder,
): (text: string, special: boolean) => EncodingWithOffsets {
  const { model, normalizer, preTokenizer } = parts;
  const normalize = normalizer ? alignNormalizer(normalizer) : (source: Aligned) => source;
  const byteLevel = model instanceof Bpe && model.byteLevel;
  const steps = flatten(preTokenizer).map((spec, i, all) => compileStep(spec, byteLevel && i === all.length - 1));
  return (input, special) => {
    const { text } = replaceLoneSurrogates(input);
    const ids = new IdList();
    const offsets = new IdList();
    const put = (id: number, from: number, to: number): void => {
      ids.push(id);
      offsets.push(from);
      offsets.push(to);
    };
    let atStart = true;
    for (const outer of raw.split(text, !special)) {
      if (outer.token) put(outer.token.id, outer.start, outer.end);
      else {
        const source = normalize(alignedText(outer.text, outer.start));
        for (const inner of normalized.split(source.text, !special)) {
          if (inner.token) put(inner.token.id, source.from[inner.start], source.to[inner.end - 1]);
          else {
            let pieces: [Aligned, boolean][] = [
              [slice(source, inner.start, inner.end), atStart && source.from[inner.start] === 0],
            ];
            for (const step of steps)
              pieces = pieces.flatMap(([piece, first]) =>
                // Parts of the first character are all at the start, in the official package too.
                step(piece, first).map((part): [Aligned, boolean] => [part, first && part.from[0] === 0]),
              );
            for (const [piece] of pieces) if (piece.text !== '') encodePiece(model, piece, put);
          }
          atStart = false;
        }
      }
      atStart = false;
    }
    return { ids: ids.toArray(), offsets: offsets.toArray() };
  };
}

function flatten(spec: PreTokenizerSpec | null): PreTokenizerSpec[] {
  if (!spec) return [];
  return spec.type === 'Sequence' ? spec.pretokenizers.flatMap(flatten) : [spec];
}

/** A step that cuts hands out parts of its text in order, which are found again; the two that change the text are done here. */
function compileStep(spec: PreTokenizerSpec, deferBytes: boolean): Step {
  if (spec.type === 'Metaspace') {
    const {
      replacement = '▁',
      prepend_scheme: scheme = spec.add_prefix_space === false ? 'never' : 'always',
      split = true,
    } = spec;
    const cut = split
      ? cutting({ type: 'Split', pattern: { String: replacement }, behavior: 'MergedWithNext' })
      : (source: Aligned) => [source];
    return (source, atStart) => {
      let marked: Aligned = { ...source, text: source.text.replaceAll(' ', replacement) };
      if ((scheme === 'always' || (scheme === 'first' && atStart)) && !marked.text.startsWith(replacement))
        marked = prepend(marked, replacement);
      return cut(marked, atStart);
    };
  }
  if (spec.type === 'ByteLevel') {
    const { add_prefix_space: blank = true, use_regex: cuts = true } = spec;
    const cut = cuts
      ? cutting({ type: 'ByteLevel', add_prefix_space: false, use_regex: true }, true)
      : (source: Aligned) => [source];
    return (source, atStart) => {
      const whole = blank && !source.text.startsWith(' ') ? prepend(source, ' ') : source;
      const parts = cut(whole, atStart);
      return deferBytes ? parts : parts.map(inByteAlphabet);
    };
  }
  return cutting(spec);
}

function cutting(spec: PreTokenizerSpec, deferBytes = false): Step {
  const { split } = compilePreTokenizer(spec, deferBytes);
  return (source, atStart) => {
    const parts: Aligned[] = [];
    let done = 0;
    split(source.text, atStart, (piece) => {
      const start = source.text.indexOf(piece, done);
      done = start + piece.length;
      parts.push(slice(source, start, done));
    });
    return parts;
  };
}

function inByteAlphabet(source: Aligned): Aligned {
  const [from, to]: number[][] = [[], []];
  let text = '';
  let i = 0;
  for (const char of source.text) {
    const spelled = toByteAlphabet(utf8Bytes(char));
    for (let n = 0; n < spelled.length; n++) {
      from.push(source.from[i]);
      to.push(source.to[i]);
    }
    text += spelled;
    i += char.length;
  }
  return { text, from: Int32Array.from(from), to: Int32Array.from(to) };
}

/** The ids of a piece, each with the range of the characters that it is made of. */
function encodePiece(model: Model, piece: Aligned, put: (id: number, from: number, to: number) => void): void {
  const list = new IdList();
  model.encode(piece.text, list);
  const ids = list.toArray();
  const spans =
    model instanceof Bpe && model.byteLevel ? byteSpans(model, piece.text, ids) : characterSpans(model, piece.text, ids);
  ids.forEach((id, i) => {
    const [start, end] = [spans[2 * i], spans[2 * i + 1]];
    put(id, piece.from[Math.min(start, piece.from.length - 1)], piece.to[Math.max(start, end - 1)]);
  });
}

/** Byte-level: a token is as many bytes as its spelling has characters. */
function byteSpans(model: Model, text: string, ids: Int32Array): number[] {
  const unitOfByte: number[] = [];
  let i = 0;
  for (const char of text) {
    for (let b = utf8Bytes(char).length; b > 0; b--) unitOfByte.push(i);
    i += char.length;
  }
  const spans: number[] = [];
  let byte = 0;
  for (const id of ids) {
    const length = model.idToToken(id)!.length;
    const last = unitOfByte[byte + length - 1];
    spans.push(unitOfByte[byte], last + (text.codePointAt(last)! > 0xffff ? 2 : 1));
    byte += length;
  }
  return spans;
}

/** Tokens that are texts: each stands where the last one ended; byte tokens share a character; an unknown token goes on to where the next one fits. */
function characterSpans(model: Model, text: string, ids: Int32Array): number[] {
  const { prefix, suffix } = model.marks;
  const bytes = (model instanceof Bpe || model instanceof Unigram) && model.byteFallback;
  const spans: number[] = [];
  const widthAt = (i: number): number => (text.codePointAt(i)! > 0xffff ? 2 : 1);
  const fits = (id: number, at: number): number => {
    let token = model.idToToken(id)!;
    if (at > 0 && prefix && token.startsWith(prefix)) token = token.slice(prefix.length);
    if (text.startsWith(token, at)) return token.length;
    if (!suffix || !token.endsWith(suffix)) return -1;
    token = token.slice(0, -suffix.length);
    return token !== '' && at + token.length === text.length && text.endsWith(token) ? token.length : -1;
  };
  let at = 0;
  for (let i = 0; i < ids.length; ) {
    const length = ids[i] === model.unkId ? -1 : fits(ids[i], at);
    if (length >= 0) {
      spans.push(at, at + length);
      at += length;
      i++;
      continue;
    }
    if (ids[i] === model.unkId || at >= text.length) {
      // WordPiece's unknown is the whole word; elsewhere the run ends where the next token stands.
      let end = model.wholeUnknown || i + 1 === ids.length ? text.length : at + widthAt(at);
      if (!model.wholeUnknown)
        while (
          i + 1 < ids.length &&
          end < text.length &&
          ids[i + 1] !== model.unkId &&
          fits(ids[i + 1], end) < 0 &&
          !(bytes && isByte(model, ids[i + 1]))
        )
          end += widthAt(end);
      spans.push(at, end);
      at = end;
      i++;
      continue;
    }
    // Bytes of one character; in Unigram, where unknown characters in a row are one unknown, of the run.
    const first = at;
    let count = 0;
    do {
      const width = widthAt(at);
      count += utf8Bytes(text.slice(at, at + width)).length;
      at += width;
    } while (model.type === 'Unigram' && at < text.length && i + count < ids.length && isByte(model, ids[i + count]));
    for (const end = Math.min(ids.length, i + count); i < end; i++) spans.push(first, at);
  }
  return spans;
}

const isByte = (model: Model, id: number): boolean => /^<0x[0-9A-F]{2}>$/.test(model.idToToken(id) ?? '');

/** What a ByteLevel or RoBERTa post-processor does to offsets: blanks at the ends of a token do not count. Once for each of them. */
export function trimming(spec: PostProcessorSpec | null): { prefixSpace: boolean }[] {
  if (!spec) return [];
  if (spec.type === 'Sequence') return spec.processors.flatMap(trimming);
  if (spec.type !== 'ByteLevel' && spec.type !== 'RobertaProcessing') return [];
  return (spec.trim_offsets ?? true) ? [{ prefixSpace: spec.add_prefix_space ?? true }] : [];
}

/** Trim in place; `token` is the spelling in the vocabulary. Offsets are characters here, since blanks are counted as characters. */
export function trimOffsets(tokens: readonly string[], offsets: Int32Array, prefixSpace: boolean): void {
  tokens.forEach((token, i) => {
    const chars = Array.from(token);
    const blank = (c: string): boolean => c === 'Ġ' || /\p{White_Space}/u.test(c);
    let leading = 0;
    while (leading < chars.length && blank(chars[leading])) leading++;
    let trailing = 0;
    while (trailing < chars.length && blank(chars[chars.length - 1 - trailing])) trailing++;
    if (leading > 0) {
      // One blank at the start is the one that was put there; more of them were in the text.
      if (prefixSpace && leading === 1 && (i === 0 || offsets[2 * i] === 0)) leading = 0;
      offsets[2 * i] = Math.min(offsets[2 * i] + leading, offsets[2 * i + 1]);
    }
    if (trailing > 0 && offsets[2 * i + 1] >= trailing)
      offsets[2 * i + 1] = Math.max(offsets[2 * i + 1] - trailing, offsets[2 * i]);
  });
}

/** Place in UTF-16 units → place in characters or bytes, for each place of a text. */
export function placesIn(text: string, unit: Exclude<OffsetUnit, 'utf16'>): Int32Array {
  const places = new Int32Array(text.length + 1);
  let n = 0;
  for (let i = 0; i < text.length; ) {
    const code = text.codePointAt(i)!;
    const width = code > 0xffff ? 2 : 1;
    for (let k = 0; k < width; k++) places[i + k] = n;
    n += unit === 'character' ? 1 : code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    i += width;
  }
  places[text.length] = n;
  return places;
}
