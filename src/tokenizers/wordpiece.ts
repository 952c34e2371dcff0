/** WordPiece (Schuster and Nakajima 2012; BERT): of each word the longest prefix that is a token, then the longest that goes on with `##`. */
import type { IdList } from './ids.ts';
import { byId, vocabJson } from './model.ts';
import type { Model } from './model.ts';
import { tokenizerError } from './tokenizer.ts';

export interface WordPieceOptions {
  vocab: ReadonlyMap<string, number>;
  unk?: string;
  /** Mark of a token that does not begin a word. */
  prefix?: string;
  /** A longer word is the unknown token as a whole (characters). */
  maxCharsPerWord?: number;
}

export class WordPiece implements Model {
  readonly type = 'WordPiece';
  readonly size: number;
  readonly vocab: ReadonlyMap<string, number>;
  readonly #unk: string;
  readonly unkId: number | undefined;
  readonly wholeUnknown = true;
  readonly marks: { prefix: string };
  readonly #prefix: string;
  readonly #maxChars: number;
  readonly #tokens: (string | undefined)[];
  /** Length of the longest token in UTF-16 units: no longer prefix need be tried. */
  readonly #longest: number;
  readonly #cache = new Map<string, readonly number[]>();

  constructor({ vocab, unk = '[UNK]', prefix = '##', maxCharsPerWord = 100 }: WordPieceOptions) {
    this.vocab = vocab;
    this.#unk = unk;
    this.unkId = vocab.get(unk);
    this.#prefix = prefix;
    this.marks = { prefix };
    this.#maxChars = maxCharsPerWord;
    this.#tokens = byId(vocab);
    this.size = this.#tokens.length;
    let longest = 0;
    for (const token of vocab.keys()) longest = Math.max(longest, token.length);
    this.#longest = longest;
  }

  encode(word: string, out: IdList): void {
    let ids = this.#cache.get(word);
    if (!ids) {
      ids = this.#pieces(word) ?? [this.#unknown(word)];
      if (this.#cache.size >= 1 << 17) this.#cache.clear();
      if (word.length < 64) this.#cache.set(word, ids);
    }
    for (const id of ids) out.push(id);
  }

  /** The pieces of a word; `undefined` when some part has no token. */
  #pieces(word: string): number[] | undefined {
    if (word.length > this.#maxChars && characters(word) > this.#maxChars) return undefined;
    const ids: number[] = [];
    let start = 0;
    while (start < word.length) {
      let end = Math.min(word.length, start + this.#longest);
      let id: number | undefined;
      for (; end > start; end--) {
        // Never cut between the halves of a surrogate pair.
        if (isLowSurrogate(word, end)) continue;
        const part = word.slice(start, end);
        id = this.vocab.get(start > 0 ? this.#prefix + part : part);
        if (id !== undefined) break;
      }
      if (id === undefined) return undefined;
      ids.push(id);
      start = end;
    }
    return ids;
  }

  #unknown(word: string): number {
    if (this.unkId === undefined)
      throw tokenizerError(
        `encode: ${JSON.stringify(word.slice(0, 40))} has no pieces in the vocabulary, which lacks ${this.#unk} too`,
      );
    return this.unkId;
  }

  tokenToId(token: string): number | undefined {
    return this.vocab.get(token);
  }

  idToToken(id: number): string | undefined {
    return this.#tokens[id];
  }

  toJson(): string {
    const head = {
      type: 'WordPiece',
      unk_token: this.#unk,
      continuing_subword_prefix: this.#prefix,
      max_input_chars_per_word: this.#maxChars,
    };
    return `${JSON.stringify(head).slice(0, -1)},"vocab":${vocabJson(this.vocab)}}`;
  }
}

function characters(text: string): number {
  let n = 0;
  for (const _ of text) n++;
  return n;
}

function isLowSurrogate(text: string, i: number): boolean {
  const unit = text.charCodeAt(i);
  return unit >= 0xdc00 && unit < 0xe000;
}
