/**
 * Unigram vocabulary trained from text (Kudo 2018, §3.2; SentencePiece): start from every frequent substring, then by turns
 * fit the probabilities by expectation-maximization over all ways to cut each word, and drop the pieces whose loss costs the least likelihood.
 */
import { specialToken } from '../added-tokens.ts';
import type { NormalizerSpec } from '../normalize.ts';
import { PipelineTokenizer } from '../pipeline.ts';
import type { PreTokenizerSpec } from '../pretokenize.ts';
import { tokenizerError } from '../tokenizer.ts';
import { Unigram } from '../unigram.ts';
import { countWords } from './count-words.ts';
import type { CountProgress, WordCounts } from './count-words.ts';
import { fitAndPrune } from './unigram-fit.ts';
import { seedPieces, type Words } from './unigram-seeds.ts';

export interface TrainUnigramOptions {
  /** Entries wanted, special tokens (and with `byteFallback` 256 bytes) included. */
  vocabSize: number;
  /** First ids; the first of them stands for unknown characters. */
  specialTokens?: readonly string[];
  /** Share of the text whose characters get a token; the rarest rest is unknown. */
  characterCoverage?: number;
  /** Longest piece, in characters. */
  maxPieceLength?: number;
  /** Substrings to start from. */
  seedSize?: number;
  /**
   * Where spm_train 0.2.3 falls behind, do as it does: start only from substrings after which its text goes on in more than one way, and do not fit the probabilities
   * again after the last pieces were dropped. For comparisons.
   */
  asSentencePiece?: boolean;
  /** Characters without a token become bytes `<0xE4>…` instead of the unknown token. */
  byteFallback?: boolean;
  normalizer?: NormalizerSpec | null;
  onProgress?: (progress: CountProgress | { stage: 'unigram'; pieces: number; target: number }) => void;
}

/** Stop pruning this far above the wanted size; the last cut is by probability. */
const slack = 1.1;

/** Words are cut at blanks and begin with `▁`, as in T5: blanks in a row, and at the ends, are not kept. */
export function trainUnigram(
  texts: Iterable<string>,
  {
    vocabSize,
    specialTokens = ['<unk>', '<s>', '</s>'],
    characterCoverage = 0.9995,
    maxPieceLength = 16,
    seedSize = 1_000_000,
    asSentencePiece = false,
    byteFallback = false,
    normalizer = { type: 'NFKC' },
    onProgress,
  }: TrainUnigramOptions,
): PipelineTokenizer {
  const metaspace = { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true } as const;
  const preTokenizer: PreTokenizerSpec = { type: 'Sequence', pretokenizers: [{ type: 'WhitespaceSplit' }, metaspace] };
  const counted = countWords(texts, { normalizer, preTokenizer, onProgress });
  const bytes = byteFallback ? Array.from({ length: 256 }, (_, b) => `<0x${b.toString(16).toUpperCase().padStart(2, '0')}>`) : [];
  const fixed = [...new Set([...specialTokens, ...bytes])];
  if (specialTokens.length === 0)
    throw tokenizerError('trainUnigram: specialTokens is empty; the first stands for unknown characters');

  const characters = coveredCharacters(counted.words, counted.counts, characterCoverage);
  const least = fixed.length + characters.size;
  if (vocabSize < least)
    throw tokenizerError(
      `trainUnigram: ${fixed.length} fixed tokens and ${characters.size} characters need ${least} entries; vocabSize is ${vocabSize}`,
      {
        vocabSize,
        least,
      },
    );

  const words = cutAtRare(counted, characters);
  const seeds = seedPieces(words, characters, { maxLength: maxPieceLength, seedSize, branching: asSentencePiece });
  const wanted = vocabSize - fixed.length;
  const pieces = fitAndPrune(words, seeds, {
    wanted: Math.ceil(wanted * slack),
    refit: !asSentencePiece,
    report: (count) => onProgress?.({ stage: 'unigram', pieces: count, target: wanted }),
  });

  // All characters, then the most likely of the others.
  const others = pieces.filter(([piece]) => !characters.has(piece)).sort((a, b) => b[1] - a[1]);
  const singles = pieces.filter(([piece]) => characters.has(piece));
  const chosen = [...singles, ...others.slice(0, wanted - singles.length)]
    .sort((a, b) => b[1] - a[1])
    // Twelve digits: the official package reads longer numbers of its file only to the last bit, and then decides ties otherwise.
    .map(([piece, logProb]): [string, number] => [piece, Number(logProb.toPrecision(12))]);
  const entries = [...fixed.map((token) => [token, 0] as const), ...chosen.filter(([piece]) => !fixed.includes(piece))];
  return new PipelineTokenizer({
    model: new Unigram({ pieces: entries, unkId: 0, byteFallback }),
    addedTokens: specialTokens.map(specialToken),
    normalizer,
    preTokenizer,
    decoder: byteFallback
      ? {
          type: 'Sequence',
          decoders: [
            { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
            { type: 'ByteFallback' },
            { type: 'Fuse' },
            { type: 'Strip', content: ' ', start: 1, stop: 0 },
          ],
        }
      : metaspace,
  });
}

/** The most frequent characters that make up `coverage` of the text. */
function coveredCharacters(words: readonly string[], counts: readonly number[], coverage: number): Set<string> {
  const frequency = new Map<string, number>();
  let total = 0;
  words.forEach((word, w) => {
    for (const char of word) {
      frequency.set(char, (frequency.get(char) ?? 0) + counts[w]);
      total += counts[w];
    }
  });
  const kept = new Set<string>();
  let covered = 0;
  for (const [char, count] of [...frequency].sort((a, b) => b[1] - a[1] || a[0].codePointAt(0)! - b[0].codePointAt(0)!)) {
    if (covered >= coverage * total) break;
    kept.add(char);
    covered += count;
  }
  return kept;
}

/** Words cut at characters that have no token, equal parts counted together. */
function cutAtRare({ words, counts, endings = [] }: WordCounts, characters: ReadonlySet<string>): Words {
  const places = new Map<string, number>();
  const cut: Words = { words: [], counts: [], endings: [] };
  words.forEach((word, w) => {
    const add = (part: string[], atEnd: boolean) => {
      if (part.length === 0) return;
      const text = part.join('');
      let place = places.get(text);
      if (place === undefined) {
        place = cut.words.push(part) - 1;
        cut.counts.push(0);
        cut.endings.push(0);
        places.set(text, place);
      }
      cut.counts[place] += counts[w];
      if (atEnd) cut.endings[place] += endings[w] ?? 0;
    };
    let part: string[] = [];
    for (const char of word) {
      if (characters.has(char)) part.push(char);
      else {
        add(part, false);
        part = [];
      }
    }
    add(part, true);
  });
  return cut;
}
