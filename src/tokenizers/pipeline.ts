/** A tokenizer as the stages of `tokenizer.json`: added tokens → normalizer → pre-tokenizer → model → post-processor, and a decoder back. */
import { AddedTokenFinder } from './added-tokens.ts';
import type { AddedToken } from './added-tokens.ts';
import { alignedText, alignNormalizer } from './aligned.ts';
import { Bpe } from './bpe.ts';
import { compileDecoder } from './decode.ts';
import type { DecoderSpec, TokenDecoder } from './decode.ts';
import { IdList } from './ids.ts';
import type { Model } from './model.ts';
import { compileNormalizer } from './normalize.ts';
import type { Normalizer, NormalizerSpec } from './normalize.ts';
import { compileOffsets, placesIn, trimming, trimOffsets } from './offsets.ts';
import type { EncodingWithOffsets, OffsetUnit } from './offsets.ts';
import { compilePostProcessor } from './postprocess.ts';
import type { Frame, Frames, PostProcessorSpec } from './postprocess.ts';
import { compilePreTokenizer, prependsFirst } from './pretokenize.ts';
import type { PreTokenizer, PreTokenizerSpec } from './pretokenize.ts';
import { padded, truncated } from './truncate.ts';
import type { PaddingSpec, Row, TruncationSpec } from './truncate.ts';
import { tokenizerError } from './tokenizer.ts';
import type { DecodeOptions, EncodeOptions, Tokenizer } from './tokenizer.ts';
import { replaceLoneSurrogates, utf8Text } from './utf8.ts';

export interface PipelineParts {
  model: Model;
  addedTokens?: readonly AddedToken[];
  normalizer?: NormalizerSpec | null;
  preTokenizer?: PreTokenizerSpec | null;
  postProcessor?: PostProcessorSpec | null;
  decoder?: DecoderSpec | null;
  truncation?: TruncationSpec | null;
  padding?: PaddingSpec | null;
}

export class PipelineTokenizer implements Tokenizer {
  readonly kind: Tokenizer['kind'];
  readonly vocabSize: number;
  readonly specialTokens: ReadonlyMap<string, number>;
  readonly parts: Required<PipelineParts>;
  readonly #normalize: Normalizer | undefined;
  readonly #split: PreTokenizer;
  readonly #frames: Frames;
  readonly #decodeToken: TokenDecoder;
  readonly #added: ReadonlyMap<number, AddedToken>;
  readonly #addedIds: ReadonlyMap<string, number>;
  /** Finders over the text as it is, and over the normalized text. */
  readonly #raw: AddedTokenFinder;
  readonly #normalized: AddedTokenFinder;
  #offsets: ReturnType<typeof compileOffsets> | undefined;
  #align: ReturnType<typeof alignNormalizer> | undefined;
  readonly #prepends: ReturnType<typeof prependsFirst>;
  /** Bytes of a token that is not the first, filled as they are asked for. */
  readonly #bytes: (Uint8Array | undefined)[] = [];

  constructor(parts: PipelineParts) {
    const { model, addedTokens = [], normalizer = null, preTokenizer = null, postProcessor = null, decoder = null } = parts;
    const { truncation = null, padding = null } = parts;
    this.parts = { model, addedTokens, normalizer, preTokenizer, postProcessor, decoder, truncation, padding };
    this.#normalize = normalizer ? compileNormalizer(normalizer) : undefined;
    this.#split = compilePreTokenizer(preTokenizer, model instanceof Bpe && model.byteLevel).split;
    this.#prepends = prependsFirst(preTokenizer);
    this.#frames = compilePostProcessor(postProcessor);
    this.#decodeToken = compileDecoder(decoder);
    this.#added = new Map(addedTokens.map((token) => [token.id, token]));
    this.#addedIds = new Map(addedTokens.map((token) => [token.content, token.id]));
    this.#raw = new AddedTokenFinder(addedTokens.filter((token) => !token.normalized));
    this.#normalized = new AddedTokenFinder(
      addedTokens.filter((token) => token.normalized),
      this.#normalize,
    );
    this.vocabSize = addedTokens.reduce((size, token) => Math.max(size, token.id + 1), model.size);
    const specials = addedTokens.filter((token) => token.special).sort((a, b) => a.id - b.id);
    this.specialTokens = new Map(specials.map((token) => [token.content, token.id]));
    this.kind = kindOf(model);
  }

  encode(text: string, { special = false, addSpecialTokens = false, onLoneSurrogates }: EncodeOptions = {}): Int32Array {
    const out = new IdList(Math.max(16, text.length >> 2));
    if (!addSpecialTokens) this.#encodeText(text, special, onLoneSurrogates, out);
    else this.#fill(this.#frames.single, text, '', special, onLoneSurrogates, out, undefined);
    return out.toArray();
  }

  /** Texts as rows for a model: with its frame, truncated and padded as the file says (`truncation`, `padding`; neither without them). */
  encodeBatch(
    texts: readonly string[],
    { special = false, addSpecialTokens = true, onLoneSurrogates }: EncodeOptions = {},
  ): Row[] {
    const { truncation, padding } = this.parts;
    const frame = addSpecialTokens ? this.#frames.single : compilePostProcessor(null).single;
    const framed = frame.reduce((n, part) => n + ('ids' in part ? part.ids.length : 0), 0);
    const rows = texts.map((text) => {
      const ids = this.encode(text, { special, onLoneSurrogates });
      const kept = truncation ? truncated(ids, truncation, framed) : ids;
      return framed === 0 ? kept : Int32Array.from(frame.flatMap((part) => ('ids' in part ? part.ids : Array.from(kept))));
    });
    return padded(rows, padding);
  }

  /**
   * The ids of `encode` with where each token stands in the text. Some ten times slower: the text is followed through every step.
   * `unit`: UTF-16 units, as in `text.slice`; characters, as the official package counts; or UTF-8 bytes.
   */
  encodeWithOffsets(
    text: string,
    { special = false, addSpecialTokens = false, unit = 'utf16' }: EncodeOptions & { unit?: OffsetUnit } = {},
  ): EncodingWithOffsets {
    this.#offsets ??= compileOffsets(this.parts, this.#raw, this.#normalized);
    const bare = this.#offsets(text, special);
    const trims = trimming(this.parts.postProcessor);
    const trim = trims.length > 0;
    let { ids, offsets } = bare;
    if (trim || unit === 'character') {
      const places = placesIn(text, 'character');
      offsets = offsets.map((place) => places[place]);
    }
    if (trim) {
      const spellings = this.#spellings(text, ids, offsets);
      for (const { prefixSpace } of trims) trimOffsets(spellings, offsets, prefixSpace);
    }
    if (unit === 'byte' || (trim && unit === 'utf16')) {
      // From characters (after trimming) or units to what was asked for.
      const units = trim ? unitsOfCharacters(text) : undefined;
      const bytes = unit === 'byte' ? placesIn(text, 'byte') : undefined;
      offsets = offsets.map((place) => {
        const at = units ? units[place] : place;
        return bytes ? bytes[at] : at;
      });
    }
    if (addSpecialTokens) {
      const framed = this.#frames.single.flatMap((part) =>
        'ids' in part ? part.ids.map((id) => [id, -1]) : Array.from(ids, (id, i) => [id, i]),
      );
      offsets = Int32Array.from(framed.flatMap(([, i]) => (i < 0 ? [0, 0] : [offsets[2 * i], offsets[2 * i + 1]])));
      ids = Int32Array.from(framed, ([id]) => id);
    }
    return { ids, offsets };
  }

  /** Tokens as trimming sees them: an added token with the blanks that it took, an unknown one of Unigram as it stands in the text. */
  #spellings(text: string, ids: Int32Array, offsets: Int32Array): string[] {
    const chars = Array.from(text);
    const { model } = this.parts;
    return Array.from(ids, (id, i) => {
      const spelled = this.idToToken(id)!;
      const stands = chars.slice(offsets[2 * i], offsets[2 * i + 1]).join('');
      const added = this.#added.get(id);
      const asWritten = added ? stands.includes(spelled) : model.type === 'Unigram' && id === model.unkId;
      return asWritten ? stands : spelled;
    });
  }

  /** Two texts as the model expects a pair (`[CLS] a [SEP] b [SEP]`), with the segment of each token. */
  encodePair(a: string, b: string, { special = false, addSpecialTokens = true, onLoneSurrogates }: EncodeOptions = {}) {
    const out = new IdList();
    const typeIds = new IdList();
    const frame = addSpecialTokens ? this.#frames.pair : compilePostProcessor(null).pair;
    this.#fill(frame, a, b, special, onLoneSurrogates, out, typeIds);
    return { ids: out.toArray(), typeIds: typeIds.toArray() };
  }

  #fill(
    frame: Frame,
    a: string,
    b: string,
    special: boolean,
    onLone: EncodeOptions['onLoneSurrogates'],
    out: IdList,
    typeIds?: IdList,
  ): void {
    for (const part of frame) {
      if ('ids' in part) for (const id of part.ids) out.push(id);
      else this.#encodeText(part.text === 'A' ? a : b, special, onLone, out);
      while (typeIds && typeIds.length < out.length) typeIds.push(part.typeId);
    }
  }

  #encodeText(text: string, special: boolean, onLone: EncodeOptions['onLoneSurrogates'], out: IdList): void {
    const { text: whole, replaced } = replaceLoneSurrogates(text);
    if (replaced) onLone?.(replaced);
    const { model } = this.parts;
    const emit = (piece: string) => model.encode(piece, out);
    const start = this.#startOf(whole);
    if (start === 'several' || this.#prepends === 'often') {
      this.#offsets ??= compileOffsets(this.parts, this.#raw, this.#normalized);
      out.append(this.#offsets(whole, special).ids);
      return;
    }
    let atStart = start === 'first';
    for (const outer of this.#raw.split(whole, !special)) {
      if (outer.token) out.push(outer.token.id);
      else {
        const normalized = this.#normalize ? this.#normalize(outer.text) : outer.text;
        for (const inner of this.#normalized.split(normalized, !special)) {
          if (inner.token) out.push(inner.token.id);
          else this.#split(inner.text, atStart, emit);
          atStart = false;
        }
      }
      atStart = false;
    }
  }

  /**
   * What of a normalized text is at the start of the input, for `prepend_scheme: first`: its first character as a rule; nothing where a normalizer took the first character
   * away; and where it made several of it, each of them, which only the slow path can follow.
   */
  #startOf(text: string): 'first' | 'nothing' | 'several' {
    const { normalizer } = this.parts;
    if (this.#prepends !== 'first' || !normalizer) return 'first';
    this.#align ??= alignNormalizer(normalizer);
    const { text: head, from } = this.#align(alignedText(text.slice(0, 64)));
    const units = from.findIndex((place) => place > 0);
    const atStart = Array.from(head.slice(0, units < 0 ? head.length : units)).length;
    return atStart === 0 ? 'nothing' : atStart === 1 ? 'first' : 'several';
  }

  decode(ids: ArrayLike<number>, { skipSpecial = false }: DecodeOptions = {}): string {
    const pieces: Uint8Array[] = [];
    let length = 0;
    for (let i = 0; i < ids.length; i++) {
      if (skipSpecial && this.#added.get(ids[i])?.special) continue;
      const bytes = this.tokenBytes(ids[i], pieces.length === 0);
      pieces.push(bytes);
      length += bytes.length;
    }
    const all = new Uint8Array(length);
    let at = 0;
    for (const piece of pieces) {
      all.set(piece, at);
      at += piece.length;
    }
    return utf8Text(all);
  }

  tokenBytes(id: number, atStart = false): Uint8Array {
    if (!atStart && this.#bytes[id]) return this.#bytes[id];
    const token = this.idToToken(id);
    if (token === undefined)
      throw tokenizerError(`decode: ${id} is no token of this vocabulary (ids 0–${this.vocabSize - 1})`, {
        id,
        vocabSize: this.vocabSize,
      });
    const bytes = this.#decodeToken(token, atStart, this.#added.has(id));
    if (!atStart) this.#bytes[id] = bytes;
    return bytes;
  }

  tokenToId(token: string): number | undefined {
    return this.#addedIds.get(token) ?? this.parts.model.tokenToId(token);
  }

  idToToken(id: number): string | undefined {
    return this.#added.get(id)?.content ?? this.parts.model.idToToken(id);
  }
}

/** Where each character of a text begins, in UTF-16 units, and the end. */
function unitsOfCharacters(text: string): number[] {
  const units: number[] = [];
  let i = 0;
  for (const char of text) {
    units.push(i);
    i += char.length;
  }
  units.push(i);
  return units;
}

function kindOf(model: Model): Tokenizer['kind'] {
  if (model instanceof Bpe) return model.mergeCount > 0 ? 'bpe' : model.byteLevel ? 'byte' : 'char';
  return model.type === 'WordPiece' ? 'wordpiece' : model.type === 'Unigram' ? 'unigram' : 'wordlevel';
}
