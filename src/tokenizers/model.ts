/** The part of a tokenizer that turns one piece of text (a word, as the pre-tokenizer cut it) into ids. */
import type { IdList } from './ids.ts';

export interface Model {
  readonly type: 'BPE' | 'WordPiece' | 'WordLevel' | 'Unigram';
  /** Highest id + 1. */
  readonly size: number;
  /** The token of what the vocabulary lacks. */
  readonly unkId?: number | null;
  /** Its unknown token stands for a whole word. */
  readonly wholeUnknown?: boolean;
  /** What spellings have beside the text: before tokens that go on with a word, and after those that end one. */
  readonly marks: { prefix?: string; suffix?: string };
  /** Append the ids of one piece. */
  encode(piece: string, out: IdList): void;
  tokenToId(token: string): number | undefined;
  idToToken(id: number): string | undefined;
  /** The model's part of `tokenizer.json`, as JSON text (the vocabulary may be too large, and too oddly keyed, for an object). */
  toJson(): string;
}

/** `{"a":0,…}` in the order of ids. Written by hand: a JavaScript object would reorder keys such as "7" and lose "__proto__". */
export function vocabJson(vocab: ReadonlyMap<string, number>): string {
  const entries = [...vocab].sort((a, b) => a[1] - b[1]);
  return `{${entries.map(([token, id]) => `${JSON.stringify(token)}:${id}`).join(',')}}`;
}

/** Token by id, with holes where no token has the id. */
export function byId(vocab: ReadonlyMap<string, number>): (string | undefined)[] {
  let size = 0;
  for (const id of vocab.values()) if (id >= size) size = id + 1;
  const tokens = new Array<string | undefined>(size).fill(undefined);
  for (const [token, id] of vocab) tokens[id] = token;
  return tokens;
}
