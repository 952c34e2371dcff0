/** Byte-level BPE trained from text: the tokenizer of GPT-2 and of most decoders since. */
import { specialToken } from '../added-tokens.ts';
import { Bpe } from '../bpe.ts';
import { byteToChar } from '../byte-alphabet.ts';
import { splitPatterns } from '../pattern.ts';
import type { SplitPatternName } from '../pattern.ts';
import { PipelineTokenizer } from '../pipeline.ts';
import type { PreTokenizerSpec } from '../pretokenize.ts';
import { tokenizerError } from '../tokenizer.ts';
import type { Tokenizer } from '../tokenizer.ts';
import { utf8Into } from '../utf8.ts';
import { countWords } from './count-words.ts';
import type { CountProgress, WordCounts } from './count-words.ts';
import { learnMerges } from './learn-merges.ts';
import type { MergeProgress } from './learn-merges.ts';

export type TrainProgress = CountProgress | MergeProgress;

export interface TrainBpeOptions {
  /** Entries wanted, special tokens and the 256 bytes included; fewer are learned when the text has no more pairs. */
  vocabSize: number;
  /** First ids, in this order. */
  specialTokens?: readonly string[];
  /** A name of `splitPatterns`, or a pattern in the dialect of `tokenizer.json`. */
  pattern?: SplitPatternName | (string & {});
  /** Pairs that occur less often are not merged. 2: what is seen once teaches nothing. */
  minFrequency?: number;
  onProgress?: (progress: TrainProgress) => void;
}

/**
 * Train byte-level BPE on texts, each cut by itself. Same texts and options give the same ids, and the merges of the official trainer
 * (`BpeTrainer` with the byte alphabet as initial alphabet and the same pre-tokenizer).
 * Ids: special tokens, then the 256 bytes in the order of their characters, then merges as learned.
 */
export function trainBpe(
  texts: Iterable<string>,
  { vocabSize, specialTokens = [], pattern = 'gpt2', minFrequency = 2, onProgress }: TrainBpeOptions,
): Tokenizer {
  const preTokenizer = byteLevelSplit(pattern);
  checkSize(vocabSize, specialTokens);
  return trainBpeOnWords(countWords(texts, { preTokenizer, deferBytes: true, onProgress }), {
    vocabSize,
    specialTokens,
    pattern,
    minFrequency,
    onProgress,
  });
}

/** The same from words already counted, cut with the same pattern. */
export function trainBpeOnWords(
  { words, counts }: WordCounts,
  { vocabSize, specialTokens = [], pattern = 'gpt2', minFrequency = 2, onProgress }: TrainBpeOptions,
): Tokenizer {
  checkSize(vocabSize, specialTokens);
  const vocab = new Map<string, number>();
  const tokens: string[] = [];
  const add = (token: string): { id: number; isNew: boolean } => {
    const known = vocab.get(token);
    if (known !== undefined) return { id: known, isNew: false };
    vocab.set(token, tokens.length);
    return { id: tokens.push(token) - 1, isNew: true };
  };
  specialTokens.forEach(add);
  for (const char of [...byteToChar].sort()) add(char);
  const byteIds = byteToChar.map((char) => vocab.get(char)!);

  // All words end to end, encoded into one array: an array for each of millions of words would take more memory than the words.
  const starts = new Int32Array(words.length + 1);
  let bytes = new Uint8Array(1 << 16);
  words.forEach((word, w) => {
    const at = starts[w];
    if (at + word.length * 3 > bytes.length) {
      const larger = new Uint8Array(Math.max(bytes.length * 2, at + word.length * 3));
      larger.set(bytes);
      bytes = larger;
    }
    starts[w + 1] = at + utf8Into(word, bytes, at);
  });
  const symbols = new Int32Array(starts[words.length]);
  for (let i = 0; i < symbols.length; i++) symbols[i] = byteIds[bytes[i]];

  const { merges } = learnMerges({
    symbols,
    starts,
    counts,
    vocabulary: tokens.length,
    vocabSize,
    minFrequency: Math.max(1, minFrequency),
    join: (left, right) => add(tokens[left] + tokens[right]),
    onProgress,
  });

  return byteLevelBpe({ vocab, merges: merges.map(([a, b]) => [tokens[a], tokens[b]] as const), specialTokens, pattern });
}

/** Byte-level BPE from a vocabulary and merges (also `vocab.json` and `merges.txt` of GPT-2). */
export function byteLevelBpe({
  vocab,
  merges,
  specialTokens = [],
  pattern = 'gpt2',
}: {
  vocab: ReadonlyMap<string, number>;
  merges: readonly (readonly [string, string])[];
  specialTokens?: readonly string[];
  pattern?: SplitPatternName | (string & {});
}): PipelineTokenizer {
  let next = 0;
  for (const id of vocab.values()) next = Math.max(next, id + 1);
  return new PipelineTokenizer({
    model: new Bpe({ vocab, merges, byteLevel: true }),
    addedTokens: [...new Set(specialTokens)].map((token) => specialToken(token, vocab.get(token) ?? next++)),
    preTokenizer: byteLevelSplit(pattern),
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
  });
}

function byteLevelSplit(pattern: string): PreTokenizerSpec {
  if (pattern === 'gpt2') return { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
  const Regex = Object.hasOwn(splitPatterns, pattern) ? splitPatterns[pattern as SplitPatternName] : pattern;
  return {
    type: 'Sequence',
    pretokenizers: [
      { type: 'Split', pattern: { Regex }, behavior: 'Isolated', invert: false },
      { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
    ],
  };
}

function checkSize(vocabSize: number, specialTokens: readonly string[]): void {
  const least = 256 + new Set(specialTokens.filter((token) => !byteToChar.includes(token))).size;
  if (!Number.isInteger(vocabSize) || vocabSize < least)
    throw tokenizerError(
      `trainBpe: vocabSize ${vocabSize} is too small; 256 bytes and ${least - 256} special tokens need ${least}`,
      {
        vocabSize,
        least,
      },
    );
  if (specialTokens.includes('')) throw tokenizerError('trainBpe: a special token is empty');
}
