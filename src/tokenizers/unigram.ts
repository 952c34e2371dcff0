/** Unigram language model (Kudo 2018; SentencePiece): of all ways to cut a text into tokens, the one with the highest Σ log p. */
import { CharTrie } from './char-trie.ts';
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
  /**
   * As the SentencePiece library computes: sums in float32, the unknown's score from the ordinary tokens alone. `outside`: ids that no text becomes (control tokens,
   * bytes, unused ones). `userDefined`: ids that always win over other cuts.
   */
  sentencePiece?: { outside: readonly number[]; userDefined: readonly number[] };
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
  readonly #float32: boolean;
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
    const { outside = [], userDefined = [] } = options.sentencePiece ?? {};
    this.#float32 = options.sentencePiece !== undefined;
    const outsiders = new Set(outside);
    const chosen = new Set(userDefined);
    let least = Number.POSITIVE_INFINITY;
    pieces.forEach(([token, logProb], id) => {
      this.#ids.set(token, id);
      if (outsiders.has(id)) return;
      this.#trie.add(token, id);
      if (chosen.has(id)) return;
      least = Math.min(least, logProb);
    });
    const round = this.#float32 ? Math.fround : (x: number) => x;
    this.#unkLogProb = round(round(least) - unkPenalty);
    if (this.#float32) for (let id = 0; id < this.size; id++) this.#logProbs[id] = Math.fround(this.#logProbs[id]);
    // Longer symbols score higher, and any of them more than ordinary tokens, whose log probabilities are below 0: a tenth for each character but the first.
    for (const id of chosen) this.#logProbs[id] = Math.fround((Array.from(pieces[id][0]).length - 1) * 0.1);
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

  readonly marks = {};

  get unkId(): number | null | undefined {
    return this.options.unkId;
  }

  get byteFallback(): boolean {
    return this.options.byteFallback ?? false;
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
    const [trie, logProbs, float32] = [this.#trie, this.#logProbs, this.#float32];
    const { unkId } = this.options;
    for (let i = 0; i <= n; i++) from[i] = -1;
    best[0] = 0;
    for (let start = 0; start < n; ) {
      const width = text.codePointAt(start)! > 0xffff ? 2 : 1;
      const here = best[start];
      let single = false;
      for (let i = start, node = 0; i < n; i++) {
        node = trie.next(node, text.charCodeAt(i));
        if (node < 0) break;
        const id = trie.tokenAt(node);
        if (id < 0) continue;
        const end = i + 1;
        const sum = here + logProbs[id];
        const score = float32 ? Math.fround(sum) : sum;
        if (from[end] < 0 || score > best[end]) {
          best[end] = score;
          from[end] = start;
          token[end] = id;
        }
        if (end === start + width) single = true;
      }
      const end = start + width;
      if (!single) {
        const sum = here + this.#unkLogProb;
        const score = float32 ? Math.fround(sum) : sum;
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
      // The official package looks a run of unknowns up once more: the unknown token's own text is that token, not its bytes.
      const written = id === unknown && !this.#float32 ? this.#ids.get(text.slice(start, end)) : undefined;
      if (id !== unknown) out.push(id);
      else if (written !== undefined) out.push(written);
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
    const { pieces, unkId, byteFallback, sentencePiece } = this.options;
    // Not of the published format, whose readers pass over it.
    const more = sentencePiece
      ? `"outside":${JSON.stringify(sentencePiece.outside)},"user_defined":${JSON.stringify(sentencePiece.userDefined)},`
      : '';
    return `{"type":"Unigram",${more}"unk_id":${unkId ?? null},"vocab":${JSON.stringify(pieces)},"byte_fallback":${byteFallback ?? false}}`;
  }
}

const unknown = -1;
