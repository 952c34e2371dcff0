/** By turns: probabilities of pieces by expectation-maximization over all cuts of all words, and the pieces dropped whose loss costs the least likelihood. */
import { bestCut, buildLattices, expect, impossible, type Lattices, type Scratch } from './unigram-lattice.ts';
import type { Words } from './unigram-seeds.ts';

/** Keep this share of the pieces in each round (SentencePiece's shrinking factor), and fit twice between. */
const shrink = 0.75;
const fitsPerRound = 2;
/** Pieces that are expected less often than this go at once. */
const leastExpected = 0.5;

/** Pieces and their log probabilities, at most `wanted` of them. `refit`: fitted once more after the last of them were dropped. */
export function fitAndPrune(
  words: Words,
  seeds: readonly [string, number][],
  { wanted, refit, report }: { wanted: number; refit: boolean; report: (pieces: number) => void },
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

/** ψ(x), the derivative of log Γ: recurrence up to 7, then the asymptotic series (Abramowitz and Stegun, 6.3.18). */
function digamma(x: number): number {
  let result = 0;
  for (; x < 7; x++) result -= 1 / x;
  const inverse = 1 / (x * x);
  return result + Math.log(x) - 0.5 / x - inverse * (1 / 12 - inverse * (1 / 120 - inverse / 252));
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
