/** Byte-pair encoding (Sennrich et al. 2016; on bytes: Radford et al. 2019): merge the pair that was learned first, leftmost, until none is left. */
import { byteToChar } from './byte-alphabet.ts';
import { PairTable } from './ids.ts';
import type { IdList } from './ids.ts';
import { MinHeap } from './min-heap.ts';
import { byId, vocabJson } from './model.ts';
import type { Model } from './model.ts';
import { CharTrie } from './char-trie.ts';
import { tokenizerError } from './tokenizer.ts';
import { utf8Bytes, utf8Into } from './utf8.ts';

export interface BpeOptions {
  vocab: ReadonlyMap<string, number>;
  /** Pairs of tokens, first learned first. A pair that is listed twice has its last rank, as in the official package. */
  merges: readonly (readonly [string, string])[];
  /**
   * Several pairs that make one token have one rank, that of the last of them: the leftmost of them in a text is merged first. So it is where a merge is known by
   * the token it makes (tiktoken, SentencePiece) and not by its pair.
   */
  rankByToken?: boolean;
  /** Tokens that are found in the text before anything is merged, longest first, and are never part of a merge (SentencePiece's user-defined symbols). */
  frozen?: readonly string[];
  /** Token of a character that the vocabulary lacks. Without one such a text is refused: never a silent loss. */
  unk?: string;
  /** One unknown token for a run of unknown characters. */
  fuseUnk?: boolean;
  /** An unknown character becomes its UTF-8 bytes `<0xE4><0xBD>…` (Llama 2). */
  byteFallback?: boolean;
  /** A piece that is a token is that token, whatever the merges would give (Llama 3). */
  ignoreMerges?: boolean;
  continuingSubwordPrefix?: string;
  endOfWordSuffix?: string;
  /** Pieces are plain text and this model reads them as bytes in the GPT-2 alphabet; else a piece is characters of the vocabulary. */
  byteLevel?: boolean;
}

/** Pieces up to this many symbols are merged by looking for the best pair anew: quadratic, and faster than a heap on words. */
const shortPiece = 40;
/** Pieces longer than this are not remembered (UTF-16 units). */
const cachedLength = 48;
const cachedPieces = 1 << 18;
/** Ids of all remembered pieces: four for each of them. */
const cachedIds = 4 * cachedPieces;
const noMerge = 0x7fffffff;

export class Bpe implements Model {
  readonly type = 'BPE';
  readonly size: number;
  readonly vocab: ReadonlyMap<string, number>;
  readonly byteLevel: boolean;
  readonly mergeCount: number;
  readonly #options: BpeOptions;
  readonly #tokens: (string | undefined)[];
  /** pair → rank, and rank → the token it makes. */
  readonly #ranks: PairTable;
  readonly #merged: Int32Array;
  /** Byte → id of its token; -1 where the vocabulary lacks it. */
  readonly #byteIds: Int32Array;
  readonly #unkId: number | undefined;
  readonly #frozen: CharTrie | undefined;
  /** Piece → where its ids lie in the pool: start × 64 + count. */
  readonly #cache = new Map<string, number>();
  #pool = new Int32Array(1 << 16);
  #poolLength = 0;
  // Scratch of one piece: symbols and the rank of each with its right neighbour.
  #ids = new Int32Array(256);
  #pairRanks = new Int32Array(256);
  #bytes = new Uint8Array(512);

  constructor(options: BpeOptions) {
    const { vocab, merges, unk, continuingSubwordPrefix: prefix = '', byteFallback, byteLevel = false } = options;
    this.#options = options;
    this.vocab = vocab;
    this.byteLevel = byteLevel;
    this.#tokens = byId(vocab);
    this.size = this.#tokens.length;
    this.mergeCount = merges.length;
    this.#ranks = new PairTable(merges.length);
    this.#merged = new Int32Array(merges.length);
    if (options.frozen?.length) {
      this.#frozen = new CharTrie();
      for (const token of options.frozen) this.#frozen.add(token, this.#idOf(token, 'a user-defined symbol'));
    }
    merges.forEach(([a, b], rank) => {
      const left = this.#idOf(a, `merge ${rank}`);
      const right = this.#idOf(b, `merge ${rank}`);
      this.#merged[rank] = this.#idOf(
        a + (prefix && b.startsWith(prefix) ? b.slice(prefix.length) : b),
        `the result of merge ${rank}`,
      );
      this.#ranks.set(left, right, rank);
    });
    if (options.rankByToken) this.#shareRanks(merges);
    this.#unkId = unk === undefined ? undefined : this.#idOf(unk, 'the unknown token');
    this.#byteIds = Int32Array.from({ length: 256 }, (_, b) => {
      const token = byteFallback && !byteLevel ? `<0x${b.toString(16).toUpperCase().padStart(2, '0')}>` : byteToChar[b];
      return vocab.get(token) ?? -1;
    });
  }

  #shareRanks(merges: BpeOptions['merges']): void {
    const rankOf = new Map<number, number>();
    merges.forEach((_, rank) => {
      rankOf.set(this.#merged[rank], rank);
    });
    merges.forEach(([a, b], rank) => {
      this.#ranks.set(this.vocab.get(a)!, this.vocab.get(b)!, rankOf.get(this.#merged[rank])!);
    });
  }

  #idOf(token: string, what: string): number {
    const id = this.vocab.get(token);
    if (id === undefined)
      throw tokenizerError(`BPE: ${what} names ${JSON.stringify(token)}, which the vocabulary lacks`, { token });
    return id;
  }

  tokenToId(token: string): number | undefined {
    return this.vocab.get(token);
  }

  idToToken(id: number): string | undefined {
    return this.#tokens[id];
  }

  encode(piece: string, out: IdList): void {
    // Without merges there is nothing to remember.
    const cacheable = this.mergeCount > 0 && piece.length <= cachedLength;
    if (cacheable) {
      const place = this.#cache.get(piece);
      if (place !== undefined) {
        out.append(this.#pool, place >>> 6, place & 63);
        return;
      }
    }
    const before = out.length;
    this.#encodeAnew(piece, out);
    const count = out.length - before;
    if (cacheable && count < 64) this.#remember(piece, out, before, count);
  }

  #remember(piece: string, out: IdList, start: number, count: number): void {
    if (this.#cache.size >= cachedPieces || this.#poolLength + count > cachedIds) {
      this.#cache.clear();
      this.#poolLength = 0;
    }
    if (this.#poolLength + count > this.#pool.length) {
      const larger = new Int32Array(this.#pool.length * 2);
      larger.set(this.#pool);
      this.#pool = larger;
    }
    for (let i = 0; i < count; i++) this.#pool[this.#poolLength + i] = out.at(start + i);
    this.#cache.set(piece, this.#poolLength * 64 + count);
    this.#poolLength += count;
  }

  #encodeAnew(piece: string, out: IdList): void {
    if (this.#options.ignoreMerges) {
      const whole = this.vocab.get(this.byteLevel ? this.#spelled(piece) : piece);
      if (whole !== undefined) {
        out.push(whole);
        return;
      }
    }
    const count = this.byteLevel ? this.#byteSymbols(piece) : this.#characterSymbols(piece);
    const left = count <= shortPiece ? this.#mergeShort(count) : this.#mergeLong(count);
    out.append(this.#ids, 0, left);
  }

  #reserve(count: number): void {
    if (count <= this.#ids.length) return;
    this.#ids = new Int32Array(count * 2);
    this.#pairRanks = new Int32Array(count * 2);
  }

  /** The UTF-8 bytes of a piece in `#bytes`; returns how many. */
  #encodeBytes(piece: string): number {
    if (piece.length * 3 > this.#bytes.length) this.#bytes = new Uint8Array(piece.length * 6);
    return utf8Into(piece, this.#bytes, 0);
  }

  /** A piece as the vocabulary writes it. */
  #spelled(piece: string): string {
    const count = this.#encodeBytes(piece);
    let text = '';
    for (let i = 0; i < count; i++) text += byteToChar[this.#bytes[i]];
    return text;
  }

  #byteSymbols(piece: string): number {
    const count = this.#encodeBytes(piece);
    this.#reserve(count);
    const [ids, bytes, byteIds] = [this.#ids, this.#bytes, this.#byteIds];
    for (let i = 0; i < count; i++) {
      const id = byteIds[bytes[i]];
      if (id < 0) this.#refuse(bytes[i], piece);
      ids[i] = id;
    }
    return count;
  }

  #refuse(byte: number, piece: string): never {
    throw tokenizerError(
      `encode: byte 0x${byte.toString(16)} of ${JSON.stringify(piece.slice(0, 40))} is not in the vocabulary`,
      { byte },
    );
  }

  #characterSymbols(piece: string): number {
    const { fuseUnk, byteFallback, continuingSubwordPrefix: prefix, endOfWordSuffix: suffix } = this.#options;
    this.#reserve(piece.length * 3 + 1);
    const ids = this.#ids;
    let n = 0;
    let pendingUnk = false;
    for (let i = 0; i < piece.length; ) {
      if (this.#frozen) {
        const id = this.#frozen.longest(piece, i);
        if (id >= 0) {
          if (pendingUnk) ids[n++] = this.#unkId!;
          pendingUnk = false;
          ids[n++] = id;
          i = this.#frozen.end;
          continue;
        }
      }
      let symbol = String.fromCodePoint(piece.codePointAt(i)!);
      const char = symbol;
      const first = i === 0;
      i += symbol.length;
      if (prefix && !first) symbol = prefix + symbol;
      if (suffix && i === piece.length) symbol += suffix;
      const id = this.vocab.get(symbol);
      if (id !== undefined) {
        if (pendingUnk) ids[n++] = this.#unkId!;
        pendingUnk = false;
        ids[n++] = id;
        continue;
      }
      if (byteFallback) {
        const bytes = utf8Bytes(symbol);
        if (bytes.every((b) => this.#byteIds[b] >= 0)) {
          this.#reserve(n + bytes.length + (piece.length - i) * 3 + 1);
          for (const b of bytes) ids[n++] = this.#byteIds[b];
          continue;
        }
      }
      if (this.#unkId === undefined) refuseCharacter(char);
      if (pendingUnk && !fuseUnk) ids[n++] = this.#unkId;
      pendingUnk = true;
    }
    if (pendingUnk) ids[n++] = this.#unkId!;
    return n;
  }

  /** Merge the first `count` symbols in place; returns how many are left. */
  #mergeShort(count: number): number {
    const ids = this.#ids;
    const ranks = this.#pairRanks;
    const table = this.#ranks;
    const merged = this.#merged;
    let n = count;
    let best = noMerge;
    let at = -1;
    for (let i = 0; i + 1 < n; i++) {
      const found = table.get(ids[i], ids[i + 1]);
      const rank = found < 0 ? noMerge : found;
      ranks[i] = rank;
      if (rank < best) [best, at] = [rank, i];
    }
    while (best !== noMerge) {
      ids[at] = merged[best];
      n--;
      for (let i = at + 1; i < n; i++) {
        ids[i] = ids[i + 1];
        ranks[i] = ranks[i + 1];
      }
      if (at > 0) {
        const left = table.get(ids[at - 1], ids[at]);
        ranks[at - 1] = left < 0 ? noMerge : left;
      }
      if (at + 1 < n) {
        const right = table.get(ids[at], ids[at + 1]);
        ranks[at] = right < 0 ? noMerge : right;
      }
      best = noMerge;
      for (let i = 0; i + 1 < n; i++) if (ranks[i] < best) [best, at] = [ranks[i], i];
    }
    return n;
  }

  /** The same by a linked list and a heap of (rank, place): n log n, for pieces such as a page of Chinese without a break. */
  #mergeLong(count: number): number {
    const ids = this.#ids;
    const next = new Int32Array(count);
    const previous = new Int32Array(count);
    const heap = new MinHeap();
    for (let i = 0; i < count; i++) {
      next[i] = i + 1;
      previous[i] = i - 1;
      if (i + 1 < count) {
        const rank = this.#ranks.get(ids[i], ids[i + 1]);
        if (rank >= 0) heap.push(rank * placeSpan + i);
      }
    }
    while (heap.length) {
      const top = heap.pop();
      const rank = Math.floor(top / placeSpan);
      const at = top - rank * placeSpan;
      const right = next[at];
      // A removed symbol has next = -1; a symbol that changed since no longer has this rank.
      if (right < 0 || right >= count || this.#ranks.get(ids[at], ids[right]) !== rank) continue;
      ids[at] = this.#merged[rank];
      next[at] = next[right];
      next[right] = -1;
      if (next[at] < count) {
        previous[next[at]] = at;
        const after = this.#ranks.get(ids[at], ids[next[at]]);
        if (after >= 0) heap.push(after * placeSpan + at);
      }
      if (previous[at] >= 0) {
        const before = this.#ranks.get(ids[previous[at]], ids[at]);
        if (before >= 0) heap.push(before * placeSpan + previous[at]);
      }
    }
    let n = 0;
    for (let i = 0; i < count; i = next[i]) ids[n++] = ids[i];
    return n;
  }

  get marks(): { prefix?: string; suffix?: string } {
    return { prefix: this.#options.continuingSubwordPrefix, suffix: this.#options.endOfWordSuffix };
  }

  get unkId(): number | undefined {
    return this.#unkId;
  }

  get byteFallback(): boolean {
    return this.#options.byteFallback ?? false;
  }

  get frozen(): readonly string[] {
    return this.#options.frozen ?? [];
  }

  /** The merges as pairs of tokens, first learned first. */
  merges(): readonly (readonly [string, string])[] {
    return this.#options.merges;
  }

  toJson(): string {
    const { unk, fuseUnk, byteFallback, ignoreMerges, continuingSubwordPrefix, endOfWordSuffix, merges, rankByToken, frozen } =
      this.#options;
    // "a b" is what every reader knows; a token with a blank in it needs the newer form ["a","b"].
    const plain = merges.every(([a, b]) => !a.includes(' ') && !b.includes(' '));
    const lines = merges.map(([a, b]) => JSON.stringify(plain ? `${a} ${b}` : [a, b]));
    const head = {
      type: 'BPE',
      dropout: null,
      unk_token: unk ?? null,
      continuing_subword_prefix: continuingSubwordPrefix ?? null,
      end_of_word_suffix: endOfWordSuffix ?? null,
      fuse_unk: fuseUnk ?? false,
      byte_fallback: byteFallback ?? false,
      ignore_merges: ignoreMerges ?? false,
    };
    // Not of the published format, whose readers pass over it: what makes ids equal to SentencePiece's and tiktoken's to the last tie.
    const more =
      rankByToken || frozen?.length ? `"rank_by_token":${rankByToken ?? false},"frozen":${JSON.stringify(frozen ?? [])},` : '';
    return `${JSON.stringify(head).slice(0, -1)},${more}"vocab":${vocabJson(this.vocab)},"merges":[${lines.join(',')}]}`;
  }
}

/** Refuse a character that a vocabulary without an unknown token lacks. */
function refuseCharacter(char: string): never {
  const code = `U+${char.codePointAt(0)!.toString(16).toUpperCase().padStart(4, '0')}`;
  throw tokenizerError(
    `encode: the character ${JSON.stringify(char)} (${code}) is not in the vocabulary, and there is no token for unknown characters. ` +
      'Leave it out, or make the tokenizer with unk, or on bytes',
    { char, code },
  );
}

/** A heap entry is rank × 2³⁰ + place: ranks < 2²³ keep it an exact double. */
const placeSpan = 2 ** 30;
