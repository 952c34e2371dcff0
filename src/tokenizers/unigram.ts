/** Unigram language model (Kudo 2018; SentencePiece): of all ways to cut a text into tokens, the one with the highest Σ log p. */
import type { IdList } from './ids.ts';
import type { Model } from './model.ts';
import { tokenizerError } from './tokenizer.ts';
import { utf8Bytes } from './utf8.ts';

export interface UnigramOptions {
  /** Tokens with log probability; the place is the id. */
  pieces: readonly (readonly [token: string, logProb: number])[];
  unkId?: number | null;
  /** A character outside the vocabulary becomes its bytes `<0xE4>…`. */
  byteFallback?: boolean;
}

/** log p of an unknown character, below the least likely token (SentencePiece's constant). */
const unkPenalty = 10;

export class Unigram implements Model {
  readonly type = 'Unigram';
  readonly size: number;
  readonly options: UnigramOptions;
  readonly #ids = new Map<string, number>();
  readonly #logProbs: Float64Array;
  readonly #unkLogProb: number;
  readonly #byteIds: Int32Array | undefined;
  readonly #trie: CharTrie;
  readonly #cache = new Map<string, Int32Array>();
  // Best path to each place of a piece: its score, where its last token began, and which token that is.
  #best = new Float64Array(256);
  #from = new Int32Array(256);
  #token = new Int32Array(256);

  constructor(options: UnigramOptions) {
    this.options = options;
    const { pieces, unkId, byteFallback } = options;
    this.size = pieces.length;
    this.#logProbs = Float64Array.from(pieces, ([, logProb]) => logProb);
    this.#trie = new CharTrie();
    let least = Number.POSITIVE_INFINITY;
    pieces.forEach(([token, logProb], id) => {
      this.#ids.set(token, id);
      this.#trie.add(token, id);
      least = Math.min(least, logProb);
    });
    this.#unkLogProb = least - unkPenalty;
    if (unkId != null && !pieces[unkId])
      throw tokenizerError(`Unigram: unk_id ${unkId} is outside the vocabulary of ${pieces.length}`, { unkId });
    if (byteFallback) {
      const ids = Int32Array.from(
        { length: 256 },
        (_, b) => this.#ids.get(`<0x${b.toString(16).toUpperCase().padStart(2, '0')}>`) ?? -1,
      );
      if (ids.every((id) => id >= 0)) this.#byteIds = ids;
    }
  }

  encode(piece: string, out: IdList): void {
    const cached = this.#cache.get(piece);
    if (cached) {
      out.append(cached);
      return;
    }
    const start = out.length;
    this.#viterbi(piece, out);
    if (piece.length > 48) return;
    if (this.#cache.size >= 1 << 17) this.#cache.clear();
    this.#cache.set(piece, out.toArray(start));
  }

  /** Viterbi over places in UTF-16 units; ties go to the path found first, that is the longest last token. */
  #viterbi(text: string, out: IdList): void {
    const n = text.length;
    if (n + 1 > this.#best.length) {
      this.#best = new Float64Array(2 * n + 2);
      this.#from = new Int32Array(2 * n + 2);
      this.#token = new Int32Array(2 * n + 2);
    }
    const [best, from, token] = [this.#best, this.#from, this.#token];
    const { unkId } = this.options;
    for (let i = 0; i <= n; i++) from[i] = -1;
    best[0] = 0;
    for (let start = 0; start < n; ) {
      const width = text.codePointAt(start)! > 0xffff ? 2 : 1;
      const here = best[start];
      let single = false;
      this.#trie.prefixes(text, start, (end, id) => {
        const score = here + this.#logProbs[id];
        if (from[end] < 0 || score > best[end]) {
          best[end] = score;
          from[end] = start;
          token[end] = id;
        }
        if (end === start + width) single = true;
      });
      const end = start + width;
      if (!single) {
        const score = here + this.#unkLogProb;
        if (from[end] < 0 || score > best[end]) {
          if (unkId == null && !this.#byteIds)
            throw tokenizerError(
              `encode: ${JSON.stringify(text.slice(start, end))} is not in the vocabulary, and there is no unknown token`,
            );
          best[end] = score;
          from[end] = start;
          token[end] = unknown;
        }
      }
      start = end;
    }
    this.#emit(text, out);
  }

  /** Walk the best path back, fuse neighbours that are unknown, and write it forwards. */
  #emit(text: string, out: IdList): void {
    const [from, token] = [this.#from, this.#token];
    const path: [start: number, end: number, id: number][] = [];
    for (let end = text.length; end > 0; end = from[end]) {
      const id = token[end] === unknown || token[end] === this.options.unkId ? unknown : token[end];
      const later = path.at(-1);
      if (id === unknown && later?.[2] === unknown) later[0] = from[end];
      else path.push([from[end], end, id]);
    }
    for (const [start, end, id] of path.reverse()) {
      if (id !== unknown) out.push(id);
      else if (this.#byteIds) for (const b of utf8Bytes(text.slice(start, end))) out.push(this.#byteIds[b]);
      else out.push(this.options.unkId!);
    }
  }

  tokenToId(token: string): number | undefined {
    return this.#ids.get(token);
  }

  idToToken(id: number): string | undefined {
    return this.options.pieces[id]?.[0];
  }

  toJson(): string {
    const { pieces, unkId, byteFallback } = this.options;
    return `{"type":"Unigram","unk_id":${unkId ?? null},"vocab":${JSON.stringify(pieces)},"byte_fallback":${byteFallback ?? false}}`;
  }
}

const unknown = -1;

/** All tokens that begin at a place of a text: a trie over UTF-16 units in flat arrays. */
export class CharTrie {
  // Node: its token (or -1) and, through one table, its children.
  #tokens: number[] = [-1];
  readonly #children = new Map<number, number>();

  add(token: string, id: number): void {
    let node = 0;
    for (let i = 0; i < token.length; i++) {
      const key = node * 0x10000 + token.charCodeAt(i);
      let child = this.#children.get(key);
      if (child === undefined) {
        child = this.#tokens.push(-1) - 1;
        this.#children.set(key, child);
      }
      node = child;
    }
    if (node) this.#tokens[node] = id;
  }

  prefixes(text: string, start: number, found: (end: number, id: number) => void): void {
    let node = 0;
    for (let i = start; i < text.length; i++) {
      const child = this.#children.get(node * 0x10000 + text.charCodeAt(i));
      if (child === undefined) return;
      node = child;
      if (this.#tokens[node] >= 0) found(i + 1, this.#tokens[node]);
    }
  }
}
