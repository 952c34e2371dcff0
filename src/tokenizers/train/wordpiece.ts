/** WordPiece trained from text: BERT's tokenizer, uncased or for Chinese. */
import { specialToken } from '../added-tokens.ts';
import type { NormalizerSpec } from '../normalize.ts';
import { PipelineTokenizer } from '../pipeline.ts';
import { tokenizerError } from '../tokenizer.ts';
import { WordPiece } from '../wordpiece.ts';
import { countWords } from './count-words.ts';
import type { TrainProgress } from './bpe.ts';
import { learnMerges } from './learn-merges.ts';

const prefix = '##';

export interface TrainWordPieceOptions {
  /** Entries wanted, special tokens and characters included. */
  vocabSize: number;
  /** First ids, in this order; `[UNK]`, and `[CLS]` and `[SEP]` for the frame, must be among them. */
  specialTokens?: readonly string[];
  /** Small letters without accents (bert-base-uncased). Ideographs always stand alone, as in bert-base-chinese. */
  lowercase?: boolean;
  minFrequency?: number;
  /** Keep only the most frequent characters; words with others become `[UNK]`. */
  limitAlphabet?: number;
  /** Tokens right after the special ones, in this order, before characters that the text has beside them. */
  alphabet?: readonly string[];
  onProgress?: (progress: TrainProgress) => void;
}

/**
 * Train WordPiece as the official trainer does: byte-pair merges on characters, those inside a word marked `##` (it does not use the likelihood
 * ratio of Schuster and Nakajima 2012). The official order of the marked characters changes from run to run, and ties follow ids, so its
 * vocabulary is never twice the same; here characters and marked characters come in order of code points, unless `alphabet` says otherwise.
 */
export function trainWordPiece(
  texts: Iterable<string>,
  {
    vocabSize,
    specialTokens = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'],
    lowercase = true,
    minFrequency = 2,
    limitAlphabet = Number.POSITIVE_INFINITY,
    alphabet = [],
    onProgress,
  }: TrainWordPieceOptions,
): PipelineTokenizer {
  for (const token of ['[UNK]', '[CLS]', '[SEP]'])
    if (!specialTokens.includes(token)) throw tokenizerError(`trainWordPiece: specialTokens lacks ${token}`, { token });
  const normalizer: NormalizerSpec = {
    type: 'BertNormalizer',
    clean_text: true,
    handle_chinese_chars: true,
    strip_accents: null,
    lowercase,
  };
  const preTokenizer = { type: 'BertPreTokenizer' } as const;
  const { words, counts } = countWords(texts, { normalizer, preTokenizer, onProgress });

  const vocab = new Map<string, number>();
  const tokens: string[] = [];
  const add = (token: string): { id: number; isNew: boolean } => {
    const known = vocab.get(token);
    if (known !== undefined) return { id: known, isNew: false };
    vocab.set(token, tokens.length);
    return { id: tokens.push(token) - 1, isNew: true };
  };
  specialTokens.forEach(add);
  alphabet.forEach(add);
  const kept = frequentCharacters(words, counts, limitAlphabet);
  for (const char of kept) add(char);
  const split = words.map((word) => Array.from(word).filter((char) => vocab.has(char)));
  const inside = new Set(split.flatMap((chars) => chars.slice(1)));
  for (const char of [...inside].sort(byCodePoint)) add(prefix + char);
  if (tokens.length > vocabSize)
    throw tokenizerError(
      `trainWordPiece: special tokens and characters are ${tokens.length} entries, vocabSize is ${vocabSize}; raise it or set limitAlphabet`,
      {
        vocabSize,
        least: tokens.length,
      },
    );

  const starts = new Int32Array(words.length + 1);
  split.forEach((chars, w) => {
    starts[w + 1] = starts[w] + chars.length;
  });
  const symbols = new Int32Array(starts[words.length]);
  split.forEach((chars, w) => {
    chars.forEach((char, i) => {
      symbols[starts[w] + i] = vocab.get(i === 0 ? char : prefix + char)!;
    });
  });
  learnMerges({
    symbols,
    starts,
    counts,
    vocabulary: tokens.length,
    vocabSize,
    minFrequency: Math.max(1, minFrequency),
    join: (left, right) =>
      add(tokens[left] + (tokens[right].startsWith(prefix) ? tokens[right].slice(prefix.length) : tokens[right])),
    onProgress,
  });

  const frame = (name: string, typeId: number) => ({ SpecialToken: { id: name, type_id: typeId } });
  const special = (name: string) => ({ id: name, ids: [vocab.get(name)!], tokens: [name] });
  const single = [frame('[CLS]', 0), { Sequence: { id: 'A' as const, type_id: 0 } }, frame('[SEP]', 0)];
  return new PipelineTokenizer({
    model: new WordPiece({ vocab }),
    addedTokens: specialTokens.map(specialToken),
    normalizer,
    preTokenizer,
    postProcessor: {
      type: 'TemplateProcessing',
      single,
      pair: [...single, { Sequence: { id: 'B' as const, type_id: 1 } }, frame('[SEP]', 1)],
      special_tokens: { '[CLS]': special('[CLS]'), '[SEP]': special('[SEP]') },
    },
    decoder: { type: 'WordPiece', prefix, cleanup: true },
  });
}

function byCodePoint(a: string, b: string): number {
  return a.codePointAt(0)! - b.codePointAt(0)!;
}

/** The characters of the words, at most `limit` of them: the most frequent, ties to the smaller code point; in order of code points. */
function frequentCharacters(words: readonly string[], counts: readonly number[], limit: number): string[] {
  const frequency = new Map<string, number>();
  words.forEach((word, w) => {
    for (const char of word) frequency.set(char, (frequency.get(char) ?? 0) + counts[w]);
  });
  return [...frequency]
    .sort(([a, na], [b, nb]) => nb - na || byCodePoint(a, b))
    .slice(0, Math.min(limit, frequency.size))
    .map(([char]) => char)
    .sort(byCodePoint);
}
