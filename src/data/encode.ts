/** Pieces of documents → token ids, here or on several threads. Who encodes never shows in the result: answers are used in the order of the questions. */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { threadFile } from './thread-file.ts';
import type { DataTokenizer } from './tokens.ts';

/** How a thread makes the tokenizer that the main thread has: `(await import(module))[name](argument)`. */
export interface ThreadTokenizer {
  /** URL of a module. */
  module: string;
  /** A function that it exports. */
  name: string;
  /** Anything that structured cloning copies. */
  argument: unknown;
}

/** The ids of several texts, one after the other, with their lengths; `counts` has UTF-8 bytes and code points of each text. */
export interface EncodedTexts {
  ids: Int32Array;
  lengths: Int32Array;
  counts: Int32Array;
}

/** Text with what `encode` made of it. */
export interface Encoded {
  ids: Int32Array;
  /** Of a dialogue: 1 for each token of an answer, else 0. */
  answers?: Uint8Array;
  bytes: number;
  characters: number;
}

/** UTF-16 units that are sent together: enough that the message costs nothing beside the work. */
const BATCH_CHARS = 64 * 1024;
/** Input below this is encoded before threads have started. */
const WORTH_THREADS_BYTES = 32 << 20;

/** UTF-8 bytes and code points. */
export function countText(text: string): { bytes: number; characters: number } {
  const bytes = Buffer.byteLength(text);
  const pairs = bytes === text.length ? 0 : (text.match(/[\ud800-\udbff]/g)?.length ?? 0);
  return { bytes, characters: text.length - pairs };
}

export const encodeHere = (tokenizer: DataTokenizer, text: string): Encoded => ({
  ids: tokenizer.encode(text),
  ...countText(text),
});

/** One thread a core for large input, none besides this one otherwise. */
export const threadsFor = (bytes: number): number => (bytes < WORTH_THREADS_BYTES ? 1 : availableParallelism());

/** Takes texts in order and gives each with its ids to `use`, in the same order. */
export interface Encoder<Item extends { text: string }> {
  add(item: Item): void | Promise<void>;
  /** Everything added so far has been used. */
  drain(): Promise<void>;
  close(): Promise<void>;
}

export function encodeOnThisThread<Item extends { text: string }>(
  tokenizer: DataTokenizer,
  use: (item: Item, encoded: Encoded) => void,
): Encoder<Item> {
  return {
    add: (item) => use(item, encodeHere(tokenizer, item.text)),
    async drain() {},
    async close() {},
  };
}

/**
 * Encodes on `threads` threads. At most 2 · threads + 1 batches are on their way, so memory is bounded by the longest pieces and not by the input.
 * A text that the tokenizer refuses is encoded once more on this thread, which throws the tokenizer's own error.
 */
export function encodeOnThreads<Item extends { text: string }>(
  { threads, tokenizer, inThread }: { threads: number; tokenizer: DataTokenizer; inThread: ThreadTokenizer },
  use: (item: Item, encoded: Encoded) => void,
): Encoder<Item> {
  const workers = Array.from({ length: threads }, () => new EncodingThread(inThread));
  const waiting: { items: Item[]; answer: Promise<EncodedTexts | undefined> }[] = [];
  let items: Item[] = [];
  let chars = 0;
  let next = 0;

  const send = () => {
    if (items.length === 0) return;
    const answer = workers[next++ % threads].encode(items.map((item) => item.text));
    answer.catch(() => {}); // thrown where it is used
    waiting.push({ items, answer });
    items = [];
    chars = 0;
  };
  const useOldest = async () => {
    const { items: batch, answer } = waiting.shift()!;
    const encoded = await answer;
    if (!encoded) {
      for (const item of batch) use(item, encodeHere(tokenizer, item.text));
      return;
    }
    let at = 0;
    for (const [i, item] of batch.entries()) {
      const ids = encoded.ids.subarray(at, at + encoded.lengths[i]);
      at += encoded.lengths[i];
      use(item, { ids, bytes: encoded.counts[2 * i], characters: encoded.counts[2 * i + 1] });
    }
  };
  return {
    add(item) {
      items.push(item);
      chars += item.text.length;
      if (chars < BATCH_CHARS) return;
      send();
      return waiting.length > 2 * threads ? useOldest() : undefined;
    },
    async drain() {
      send();
      while (waiting.length > 0) await useOldest();
    },
    async close() {
      await Promise.all(workers.map((w) => w.close()));
    },
  };
}

/** One thread; it answers in the order in which it was asked. */
class EncodingThread {
  readonly #worker: Worker;
  readonly #asked: { resolve(answer: EncodedTexts | undefined): void; reject(error: unknown): void }[] = [];
  #dead: unknown;

  constructor(inThread: ThreadTokenizer) {
    this.#worker = new Worker(threadFile('encode-worker'), {
      workerData: inThread,
      resourceLimits: { maxYoungGenerationSizeMb: 6 },
    });
    this.#worker.on('message', (answer: EncodedTexts | { failed: true }) =>
      this.#asked.shift()!.resolve('failed' in answer ? undefined : answer),
    );
    this.#worker.on('error', (error) => this.#die(error));
    this.#worker.on('exit', () => this.#die(new Error('a thread that encodes text ended before its work')));
  }

  encode(texts: string[]): Promise<EncodedTexts | undefined> {
    if (this.#dead) return Promise.reject(this.#dead);
    return new Promise((resolve, reject) => {
      this.#asked.push({ resolve, reject });
      this.#worker.postMessage(texts);
    });
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }

  #die(error: unknown): void {
    this.#dead ??= error;
    for (const { reject } of this.#asked.splice(0)) reject(this.#dead);
  }
}
