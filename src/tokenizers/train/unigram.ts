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
   * Which substrings the search starts from: all that occur twice (`all`), or as in SentencePiece only those after which the text goes on in more than one way
   * (`branching`: the inner nodes of its suffix tree, which a word that is always followed by a blank is not).
   */
  seeds?: 'all' | 'branching';
  /** Fit the probabilities once more after the last cut. SentencePiece 0.2 does not, so that what was cut is missing from them. */
  refit?: boolean;
  /** Characters without a token become bytes `<0xE4>…` instead of the unknown token. */
  byteFallback?: boolean;
  normalizer?: NormalizerSpec | null;
  onProgress?: (progress: CountProgress | { stage: 'unigram'; pieces: number; target: number }) => void;
}

/** Keep this share of the pieces in each round (SentencePiece's shrinking factor), and fit twice between. */
const shrink = 0.75;
const fitsPerRound = 2;
/** Stop pruning this far above the wanted size; the last cut is by probability. */
const slack = 1.1;
/** Pieces that are expected less often than this go at once. */
const leastExpected = 0.5;

/** Words are cut at blanks and begin with `▁`, as in T5: blanks in a row, and at the ends, are not kept. */
export function trainUnigram(
  texts: Iterable<string>,
  {
    vocabSize,
    specialTokens = ['<unk>', '<s>', '</s>'],
    characterCoverage = 0.9995,
    maxPieceLength = 16,
    seedSize = 1_000_000,
    seeds: kind = 'all',
    refit = true,
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
  const seeds = seedPieces(words, characters, maxPieceLength, seedSize, kind);
  const wanted = vocabSize - fixed.length;
  const pieces = fitAndPrune(words, seeds, Math.ceil(wanted * slack), refit, (count) =>
    onProgress?.({ stage: 'unigram', pieces: count, target: wanted }),
  );

  // All characters, then the most likely of the others.
  const others = pieces.filter(([piece]) => !characters.has(piece)).sort((a, b) => b[1] - a[1]);
  const singles = pieces.filter(([piece]) => characters.has(piece));
  const chosen = [...singles, ...others.slice(0, wanted - singles.length)].sort((a, b) => b[1] - a[1]);
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

interface Words {
  /** Characters of each word. */
  words: string[][];
  counts: number[];
  /** How often each is the last of its text. */
  endings: number[];
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

/**
 * Substrings that occur at least twice, the best by count × length, and all characters. Starting from all of them gives held-out text a higher likelihood than
 * SentencePiece's branching ones (`compare-unigram.ts` measures both).
 */
function seedPieces(
  { words, counts, endings }: Words,
  characters: ReadonlySet<string>,
  maxLength: number,
  seedSize: number,
  kind: 'all' | 'branching',
): [string, number][] {
  // By length: a substring that occurs twice goes on only where its beginning does.
  const found: [string, number][] = [];
  const singles = new Map<string, number>();
  words.forEach((chars, w) => {
    for (const char of chars) singles.set(char, (singles.get(char) ?? 0) + counts[w]);
  });
  let shorter: ReadonlyMap<string, number> = singles;
  for (let length = 2; length <= maxLength && shorter.size; length++) {
    const longer = new Map<string, number>();
    // What follows a substring: its first follower, or `many`.
    const followers = new Map<string, string>();
    const follow = (piece: string, next: string) => {
      const known = followers.get(piece);
      if (known === undefined) followers.set(piece, next);
      else if (known !== next) followers.set(piece, many);
    };
    words.forEach((chars, w) => {
      for (let start = 0; start + length <= chars.length; start++) {
        if ((shorter.get(chars.slice(start, start + length - 1).join('')) ?? 0) < 2) continue;
        const piece = chars.slice(start, start + length).join('');
        longer.set(piece, (longer.get(piece) ?? 0) + counts[w]);
        if (kind === 'all') continue;
        if (start + length < chars.length) follow(piece, chars[start + length]);
        else {
          if (endings[w] < counts[w]) follow(piece, '▁');
          if (endings[w] > 0) follow(piece, textEnd);
        }
      }
    });
    for (const [piece, count] of longer) {
      if (count < 2) longer.delete(piece);
      else if (kind === 'all' || followers.get(piece) === many) found.push([piece, count * length]);
    }
    shorter = longer;
  }
  found.sort((a, b) => b[1] - a[1]);
  return [
    ...Array.from(characters, (char): [string, number] => [char, singles.get(char) ?? 1]),
    ...found.slice(0, Math.max(0, seedSize - characters.size)),
  ];
}

/** No characters, so that they differ from all. */
const [many, textEnd] = ['many', 'end'];

/** All places where pieces fit into texts: edges start → end, grouped by text, in order of start. */
interface Lattices {
  firstEdge: Int32Array;
  start: Uint16Array;
  end: Uint16Array;
  piece: Int32Array;
  lengths: Uint16Array;
}

function buildLattices(texts: readonly string[][], ids: ReadonlyMap<string, number>, maxLength: number): Lattices {
  const start: number[] = [];
  const end: number[] = [];
  const piece: number[] = [];
  const firstEdge = new Int32Array(texts.length + 1);
  texts.forEach((chars, t) => {
    for (let i = 0; i < chars.length; i++) {
      let text = '';
      for (let j = i; j < chars.length && j - i < maxLength; j++) {
        text += chars[j];
        const id = ids.get(text);
        if (id === undefined) continue;
        start.push(i);
        end.push(j + 1);
        piece.push(id);
      }
    }
    firstEdge[t + 1] = start.length;
  });
  return {
    firstEdge,
    start: Uint16Array.from(start),
    end: Uint16Array.from(end),
    piece: Int32Array.from(piece),
    lengths: Uint16Array.from(texts, (chars) => chars.length),
  };
}

const impossible = Number.NEGATIVE_INFINITY;

function logAdd(a: number, b: number): number {
  if (a < b) [a, b] = [b, a];
  return b < a - 40 ? a : a + Math.log1p(Math.exp(b - a));
}

/** ψ(x), the derivative of log Γ: recurrence up to 7, then the asymptotic series (Abramowitz and Stegun, 6.3.18). */
function digamma(x: number): number {
  let result = 0;
  for (; x < 7; x++) result -= 1 / x;
  const inverse = 1 / (x * x);
  return result + Math.log(x) - 0.5 / x - inverse * (1 / 12 - inverse * (1 / 120 - inverse / 252));
}

function fitAndPrune(
  words: Words,
  seeds: [string, number][],
  wanted: number,
  refit: boolean,
  report: (pieces: number) => void,
): [string, number][] {
  const names = seeds.map(([piece]) => piece);
  const characters = names.map((piece) => Array.from(piece));
  const maxLength = characters.reduce((most, chars) => Math.max(most, chars.length), 1);
  const total = seeds.reduce((sum, [, score]) => sum + score, 0);
  const logProb = Float64Array.from(seeds, ([, score]) => Math.log(score / total));
  const ids = new Map(names.map((piece, id) => [piece, id]));
  // A text longer than a place can say is cut; 60,000 characters without a blank are no word.
  const texts = words.words.map((chars) => chars.slice(0, 60_000));
  const ofWords = buildLattices(texts, ids, maxLength);
  const ofPieces = buildLattices(characters, ids, maxLength);
  const single = characters.map((chars) => chars.length === 1);
  const longest = Math.max(
    maxLength,
    ofWords.lengths.reduce((a, b) => Math.max(a, b), 1),
  );
  const scratch = {
    forward: new Float64Array(longest + 1),
    backward: new Float64Array(longest + 1),
    from: new Int32Array(longest + 1),
  };

  const alive = () => logProb.reduce((n, lp) => n + (lp > impossible ? 1 : 0), 0);
  for (;;) {
    if (refit || alive() > wanted)
      for (let i = 0; i < fitsPerRound; i++) maximize(logProb, expect(ofWords, words.counts, logProb, scratch), single);
    const size = alive();
    report(size);
    if (size <= wanted) break;
    prune({
      ofWords,
      ofPieces,
      counts: words.counts,
      logProb,
      single,
      keep: Math.max(wanted, Math.floor(size * shrink)),
      scratch,
    });
  }
  return names.flatMap((name, id): [string, number][] => (logProb[id] > impossible ? [[name, logProb[id]]] : []));
}

interface Scratch {
  forward: Float64Array;
  backward: Float64Array;
  from: Int32Array;
}

/** E step: how often each piece is expected, over all cuts of all words weighted by their probability (forward-backward). */
function expect(
  { firstEdge, start, end, piece, lengths }: Lattices,
  counts: readonly number[],
  logProb: Float64Array,
  scratch: Scratch,
): Float64Array {
  const { forward, backward } = scratch;
  const expected = new Float64Array(logProb.length);
  for (let w = 0; w < counts.length; w++) {
    const n = lengths[w];
    forward.fill(impossible, 0, n + 1);
    backward.fill(impossible, 0, n + 1);
    forward[0] = 0;
    backward[n] = 0;
    for (let e = firstEdge[w]; e < firstEdge[w + 1]; e++) {
      const lp = logProb[piece[e]];
      if (lp > impossible) forward[end[e]] = logAdd(forward[end[e]], forward[start[e]] + lp);
    }
    for (let e = firstEdge[w + 1] - 1; e >= firstEdge[w]; e--) {
      const lp = logProb[piece[e]];
      if (lp > impossible) backward[start[e]] = logAdd(backward[start[e]], backward[end[e]] + lp);
    }
    for (let e = firstEdge[w]; e < firstEdge[w + 1]; e++) {
      const lp = logProb[piece[e]];
      if (lp > impossible) expected[piece[e]] += counts[w] * Math.exp(forward[start[e]] + lp + backward[end[e]] - forward[n]);
    }
  }
  return expected;
}

/** M step, with the prior of variational Bayes that makes rare pieces rarer: log p = ψ(expected) − ψ(Σ expected). Characters always stay. */
function maximize(logProb: Float64Array, expected: Float64Array, single: readonly boolean[]): void {
  let sum = 0;
  for (let id = 0; id < logProb.length; id++) {
    if (logProb[id] === impossible) continue;
    if (expected[id] < leastExpected && single[id]) expected[id] = leastExpected;
    if (expected[id] >= leastExpected) sum += expected[id];
  }
  const normalizer = digamma(sum);
  for (let id = 0; id < logProb.length; id++) {
    if (logProb[id] > impossible) logProb[id] = expected[id] >= leastExpected ? digamma(expected[id]) - normalizer : impossible;
  }
}

/** The best cut of text `t` as edges from the last to the first; `without`: an edge that may not be used. */
function bestCut(
  { firstEdge, start, end, piece, lengths }: Lattices,
  t: number,
  logProb: Float64Array,
  { forward, from }: Scratch,
  without = -1,
): number[] {
  const n = lengths[t];
  forward.fill(impossible, 0, n + 1);
  forward[0] = 0;
  for (let e = firstEdge[t]; e < firstEdge[t + 1]; e++) {
    const score = forward[start[e]] + logProb[piece[e]];
    if (piece[e] !== without && score > forward[end[e]]) {
      forward[end[e]] = score;
      from[end[e]] = e;
    }
  }
  const path: number[] = [];
  if (forward[n] > impossible) for (let place = n; place > 0; place = start[from[place]]) path.push(from[place]);
  return path;
}

/**
 * Drop pieces until `keep` are left: those whose removal costs least. Cost of a piece: share of the words that use it × (its log probability − that
 * of its best cut into others, when they take over its count).
 */
function prune({
  ofWords,
  ofPieces,
  counts,
  logProb,
  single,
  keep,
  scratch,
}: {
  ofWords: Lattices;
  ofPieces: Lattices;
  counts: readonly number[];
  logProb: Float64Array;
  single: readonly boolean[];
  keep: number;
  scratch: Scratch;
}): void {
  // How often each piece stands in the best cut of a word, and in how many words.
  const used = new Float64Array(logProb.length);
  const usedWords = new Float64Array(logProb.length);
  let words = 0;
  for (let w = 0; w < counts.length; w++) {
    words += counts[w];
    const cut = bestCut(ofWords, w, logProb, scratch).map((e) => ofWords.piece[e]);
    for (const id of cut) used[id] += counts[w];
    for (const id of new Set(cut)) usedWords[id] += counts[w];
  }
  const sum = used.reduce((a, b) => a + b, 0);
  const logSum = Math.log(sum);
  const candidates: { id: number; cost: number }[] = [];
  let kept = 0;
  for (let id = 0; id < logProb.length; id++) {
    if (logProb[id] === impossible) continue;
    if (single[id]) {
      kept++;
      continue;
    }
    const others = bestCut(ofPieces, id, logProb, scratch, id).map((e) => ofPieces.piece[e]);
    const cutLogProb = others.reduce((total, other) => total + logProb[other], 0);
    if (used[id] === 0 || cutLogProb >= logProb[id]) logProb[id] = impossible;
    else {
      const logSumWithout = Math.log(sum + used[id] * (others.length - 1));
      const without = others.reduce((total, other) => total + Math.log(used[other] + used[id]) - logSumWithout, 0);
      candidates.push({ id, cost: (usedWords[id] / words) * (Math.log(used[id]) - logSum - without) });
    }
  }
  candidates.sort((a, b) => b.cost - a.cost);
  for (const { id } of candidates.slice(Math.max(0, keep - kept))) logProb[id] = impossible;
}
