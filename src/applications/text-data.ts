// Text as token streams: made once and taken as they are by later runs, or packed by hand.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import {
  holdsDialogues,
  IGNORE_INDEX,
  openPrepared,
  prepareData,
  type Prepared,
  type Progress,
  tokenizerFingerprint,
  type TokenStream,
} from '../data/index.ts';
import type { TrainConfig } from '../settings/index.ts';
import type { Tokenizer } from '../tokenizers/index.ts';
import { inThreads } from './encode-threads.ts';
import { readOptions } from './texts.ts';

/** Whether `path` is what `qkv data pack` wrote. */
export const isPacked = (path: string): boolean => existsSync(join(path, 'manifest.json'));

/** Whether the data is dialogues: packed as such, or rows with their columns. */
export async function isDialogues(config: TrainConfig): Promise<boolean> {
  if (!isPacked(config.data)) return holdsDialogues(config.data, readOptions(config));
  const { manifest, close } = openPrepared(config.data);
  close();
  return manifest.dialogues !== undefined;
}

/** The folder inside `folder` for the token streams of these settings: a run, a later one and an evaluation find the same. */
export function preparedFolder(config: TrainConfig, vocabSize: number, folder: string): string {
  const word = (text: string, length: number) => text.replace(/[^\p{L}\p{N}]+/gu, '-').slice(-length);
  return join(folder, `${word(config.data, 40)}-${word(config.tokenizer, 20)}-${vocabSize}`);
}

export interface OpenOptions {
  /** Where prepared data lies. */
  folder: string;
  /** Nothing is kept for validation. */
  whole?: boolean;
  signal?: AbortSignal;
  onProgress?: (p: Progress) => void;
}

/**
 * The token streams of the data: packed shards as they are, else made from the text in `folder`.
 * @throws E138 shards of another tokenizer, and those of prepareData
 */
export async function openText(
  config: TrainConfig,
  tokenizer: Tokenizer,
  { folder, whole = false, ...rest }: OpenOptions,
): Promise<Prepared> {
  if (isPacked(config.data)) return openPrepared(config.data, { tokenizerHash: tokenizerFingerprint(tokenizer) });
  return prepareData({
    path: config.data,
    tokenizer,
    inThreads: inThreads(tokenizer),
    outDir: folder,
    ...prepareOptions(config, whole),
    ...rest,
  });
}

/** How the data is read and split. `whole`: nothing is kept for validation. */
export const prepareOptions = (config: TrainConfig, whole: boolean) => ({
  ...readOptions(config),
  valFraction: whole ? 0 : config.valFraction,
  split: whole ? ('tail' as const) : config['data.split'],
  maxRejected: config['data.maxRejected'],
});

/** A window of packed text as its tokens see it: each belongs to a document, in which it has a place from 0. */
export interface DocumentPlaces {
  /** (B, T): the document of each token. */
  documents: Int32Array;
  /** (B, T): its place there; in a document that began before the window, from the window's first token. */
  positions: Int32Array;
}

/**
 * The documents in the windows of T tokens that begin at `starts`. Targets that belong to the next document are taken out of `targets` (−100):
 * no document foretells another.
 */
export function documentPlaces(
  stream: TokenStream,
  starts: readonly number[],
  T: number,
  targets: Int32Array,
): DocumentPlaces & { targetTokens: number } {
  const documents = new Int32Array(starts.length * T);
  const positions = new Int32Array(starts.length * T);
  for (const [b, start] of starts.entries()) {
    let document = stream.documentOf(start);
    const next = () => (document + 1 < stream.documents ? stream.documentStart(document + 1) : stream.length);
    for (let t = 0, from = 0, end = next() - start; t < T; t++) {
      if (t === end) {
        document++;
        from = t;
        end = next() - start;
      }
      documents[b * T + t] = document;
      positions[b * T + t] = t - from;
      if (t + 1 === end) targets[b * T + t] = IGNORE_INDEX;
    }
  }
  const targetTokens = targets.reduce((n, id) => n + (id === IGNORE_INDEX ? 0 : 1), 0);
  return { documents, positions, targetTokens };
}
