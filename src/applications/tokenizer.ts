// The tokenizer of a run: made from its data, or read from a file.

import { readFileSync } from 'node:fs';
import { QkvError } from '../errors.ts';
import { loadTokenizer } from '../io/index.ts';
import type { TrainConfig } from '../settings/index.ts';
import {
  byteTokenizer,
  charTokenizer,
  type Tokenizer,
  tokenizerFromJson,
  trainBpe,
  trainUnigram,
  trainWordPiece,
} from '../tokenizers/index.ts';
import type { TrainEvent } from './events.ts';
import { specialTokensFor } from './special-tokens.ts';
import { textsOf } from './texts.ts';

/** Characters that a vocabulary is learned from; beyond that it hardly changes. */
const SAMPLE = 64 * 2 ** 20;

/** The tokenizer that the settings ask for: made from the data, or read from a tokenizer.json. */
export async function* tokenizerFor(config: TrainConfig, signal?: AbortSignal): AsyncGenerator<TrainEvent, Tokenizer> {
  const { tokenizer: kind, vocabSize, pattern } = config;
  const specialTokens = specialTokensFor(config);
  if (kind === 'byte') return byteTokenizer({ specialTokens });
  if (kind === 'char') {
    const characters = new Set<string>(['\n']);
    for await (const text of textsOf(config, signal)) for (const c of text) characters.add(c);
    return charTokenizer([...characters].sort(), { specialTokens });
  }
  // A file of any format that io/load-tokenizer.ts knows, or a folder with one.
  if (kind !== 'bpe' && kind !== 'wordpiece' && kind !== 'unigram') return (await loadTokenizer(kind)).tokenizer;
  const sample: string[] = [];
  let room = SAMPLE;
  for await (const text of textsOf(config, signal)) {
    sample.push(text);
    if ((room -= text.length) <= 0) break;
  }
  yield { type: 'tokenizer', kind, merges: 0, of: vocabSize };
  await new Promise((done) => setImmediate(done)); // learning holds the thread: a signal that waits is heard before and after it
  signal?.throwIfAborted();
  const onProgress = () => signal?.throwIfAborted();
  const options = { vocabSize, specialTokens, onProgress };
  const trained =
    kind === 'bpe'
      ? trainBpe(sample, { ...options, pattern })
      : kind === 'wordpiece'
        ? trainWordPiece(sample, options)
        : trainUnigram(sample, options);
  yield { type: 'tokenizer', kind, merges: trained.vocabSize, of: vocabSize };
  return trained;
}

/** @throws QkvError E182 where there is no such file, TOKENIZER where it cannot be one */
export function readTokenizer(path: string): Tokenizer {
  let json: string;
  try {
    json = readFileSync(path, 'utf8');
  } catch (error) {
    throw new QkvError(
      'E182',
      `tokenizer="${path}" is neither char, byte, bpe, wordpiece nor unigram, nor a file that can be read (${(error as NodeJS.ErrnoException).code})`,
      { path },
    );
  }
  return tokenizerFromJson(json);
}
