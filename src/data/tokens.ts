/** What data needs of a tokenizer, and what it gives the trainer: a long row of token ids that is read a window at a time. */
import { badShard } from './errors.ts';

/** The part of a tokenizer that preparing data uses; `Tokenizer` of tokenizers/ has all of it. */
export interface DataTokenizer {
  encode(text: string): Int32Array;
  readonly vocabSize: number;
  /** Special tokens and their ids. A document that spells one is counted. */
  readonly specialTokens?: ReadonlyMap<string, number>;
  /** Bytes a token stands for: counts the bytes on each side of a tail split exactly. */
  tokenBytes?(id: number): Uint8Array;
  /** The token in the vocabulary's spelling: part of the default hash. */
  idToToken?(id: number): string | undefined;
}

/** Token ids 0 … length−1, larger than memory. */
export interface TokenStream {
  /** Tokens. */
  readonly length: number;
  /** Documents. The first one may have begun before the stream does (tail split). */
  readonly documents: number;
  /** Every id is smaller. */
  readonly vocabSize: number;
  /** The n ids from `at` on; RangeError when they are not all there. */
  read(at: number, n: number): Int32Array;
  /** As `read`, into `out` from `outAt` on, without allocating. */
  readInto(out: Int32Array, outAt: number, at: number, n: number): void;
  /** Where document i begins. */
  documentStart(i: number): number;
  /** The document that the token at `at` belongs to. */
  documentOf(at: number): number;
  /** Closes the files. */
  close(): void;
}

/** Throws the RangeError of `read`. */
export function checkRange(length: number, at: number, n: number): void {
  if (!(Number.isSafeInteger(at) && Number.isSafeInteger(n) && at >= 0 && n >= 0 && at + n <= length)) {
    throw new RangeError(`tokens ${at} … ${at + n - 1} were asked for, the stream has ${length}`);
  }
}

/** The last i in 0 … count−1 with start(i) ≤ at; start rises and start(0) ≤ at. */
export function lastAtOrBefore(count: number, start: (i: number) => number, at: number): number {
  let low = 0;
  let high = count - 1;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (start(middle) <= at) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** A stream over ids in memory, for small data and tests. `starts` are the documents' first tokens (0 among them). */
export function memoryStream(ids: Int32Array, vocabSize: number, starts: readonly number[] = [0]): TokenStream {
  const bad = ids.findIndex((id) => id < 0 || id >= vocabSize);
  if (bad >= 0) throw badShard('memory', `id ${ids[bad]} at token ${bad} is outside the vocabulary of ${vocabSize}`);
  return {
    length: ids.length,
    documents: ids.length === 0 ? 0 : starts.length,
    vocabSize,
    read(at, n) {
      checkRange(ids.length, at, n);
      return ids.slice(at, at + n);
    },
    readInto(out, outAt, at, n) {
      checkRange(ids.length, at, n);
      out.set(ids.subarray(at, at + n), outAt);
    },
    documentStart: (i) => starts[i],
    documentOf: (at) => lastAtOrBefore(starts.length, (i) => starts[i], at),
    close() {},
  };
}

/** The tokens from … to−1 of a stream, as a stream. A document that is cut counts on both sides. */
export function sliceStream(stream: TokenStream, from: number, to: number): TokenStream {
  checkRange(stream.length, from, to - from);
  const length = to - from;
  const firstDocument = length === 0 ? 0 : stream.documentOf(from);
  const documents = length === 0 ? 0 : stream.documentOf(to - 1) - firstDocument + 1;
  return {
    length,
    documents,
    vocabSize: stream.vocabSize,
    read(at, n) {
      checkRange(length, at, n);
      return stream.read(from + at, n);
    },
    readInto(out, outAt, at, n) {
      checkRange(length, at, n);
      stream.readInto(out, outAt, from + at, n);
    },
    documentStart: (i) => Math.max(0, stream.documentStart(firstDocument + i) - from),
    documentOf: (at) => stream.documentOf(from + at) - firstDocument,
    close: () => stream.close(),
  };
}
