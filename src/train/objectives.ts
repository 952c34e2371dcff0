// What a model is asked to predict, as plain functions on ids: causal prediction needs none of them, everything else begins here.
// All take their randomness as `rng`: the same seed gives the same masks.

import { crossEntropy, type Rng, type Tensor } from '../tensor/index.ts';

/** The target that no loss counts. */
const IGNORED = -100;

export interface MaskOptions {
  vocabSize: number;
  maskId: number;
  /** Share of the units that are asked. */
  rate?: number;
  /** Ids that are never asked: [CLS], [SEP], padding. */
  special?: ReadonlySet<number>;
  /**
   * The word of each token, so that a word is asked whole or not at all (Cui et al. 2019): consecutive tokens with one number belong
   * together. In Chinese the words of a segmenter. Each token its own word when left out.
   */
  words?: ArrayLike<number>;
  rng: Rng;
}

/**
 * Masked LM: 15 % of the units are asked; of their tokens 80 % become [MASK], 10 % a random id, 10 % stay, so that no token can be trusted.
 * → inputs, and targets that are −100 wherever nothing is asked. Devlin et al. 2018, §3.1.
 */
export function maskTokens(
  ids: ArrayLike<number>,
  { vocabSize, maskId, rate = 0.15, special = new Set(), words, rng }: MaskOptions,
): { inputs: Int32Array; targets: Int32Array } {
  const inputs = Int32Array.from(ids);
  const targets = new Int32Array(inputs.length).fill(IGNORED);
  let asked = false;
  for (let i = 0; i < inputs.length; i++) {
    const sameWord = words !== undefined && i > 0 && words[i] === words[i - 1];
    if (!sameWord) asked = rng.uniform() < rate;
    if (!asked || special.has(inputs[i])) continue;
    targets[i] = inputs[i];
    const u = rng.uniform();
    if (u < 0.8) inputs[i] = maskId;
    else if (u < 0.9) inputs[i] = rng.int(vocabSize);
  }
  return { inputs, targets };
}

export interface SpanOptions {
  /** The id that stands for span i, in source and target: <extra_id_0> … */
  sentinel: (i: number) => number;
  /** Ends the source and the target. */
  endId?: number;
  /** Share of the tokens that are taken out, and the mean length of a span. */
  rate?: number;
  meanSpan?: number;
  rng: Rng;
}

/**
 * Span corruption: spans are cut out of the text and a sentinel is left for each; the target is the sentinels, each with what it stands for.
 * `a b c d e f` → source `a ⟨0⟩ d e ⟨1⟩`, target `⟨0⟩ b c ⟨1⟩ f ⟨2⟩`. Raffel et al. 2019, §3.1.4.
 */
export function corruptSpans(
  ids: ArrayLike<number>,
  { sentinel, endId, rate = 0.15, meanSpan = 3, rng }: SpanOptions,
): { source: Int32Array; target: Int32Array } {
  const n = ids.length;
  if (n < 2) throw new RangeError(`corruptSpans: a text of ${n} tokens has nothing to cut out; give at least 2`);
  const noise = Math.min(Math.max(Math.round(n * rate), 1), n - 1);
  const spans = Math.min(Math.max(Math.round(noise / meanSpan), 1), n - noise, noise);
  const kept = randomParts(n - noise, spans, rng);
  const cut = randomParts(noise, spans, rng);
  const [source, target]: number[][] = [[], []];
  let at = 0;
  for (let i = 0; i < spans; i++) {
    for (let j = 0; j < kept[i]; j++) source.push(ids[at++]);
    source.push(sentinel(i));
    target.push(sentinel(i));
    for (let j = 0; j < cut[i]; j++) target.push(ids[at++]);
  }
  target.push(sentinel(spans));
  if (endId !== undefined) for (const side of [source, target]) side.push(endId);
  return { source: Int32Array.from(source), target: Int32Array.from(target) };
}

/** n things in `parts` groups of at least one, every way of cutting equally likely. */
function randomParts(n: number, parts: number, rng: Rng): number[] {
  // Choose parts − 1 of the n − 1 gaps, each gap in turn with the chance that is left to it (Knuth, algorithm S).
  const sizes: number[] = [];
  let [size, left] = [1, parts - 1];
  for (let gap = 1; gap < n; gap++) {
    if (rng.uniform() * (n - gap) < left) {
      sizes.push(size);
      [size, left] = [1, left - 1];
    } else size++;
  }
  sizes.push(size);
  return sizes;
}

/**
 * Replaced-token detection: where a small generator was asked (`targets` ≠ −100), its sample takes the token's place; the label is 1 where it
 * guessed wrong, 0 where the token is the real one. Clark et al. 2020, §2.
 */
export function replaceTokens(
  ids: ArrayLike<number>,
  targets: ArrayLike<number>,
  samples: ArrayLike<number>,
): { inputs: Int32Array; labels: Int32Array } {
  const inputs = Int32Array.from(ids, (id, i) => (targets[i] === IGNORED ? id : samples[i]));
  return { inputs, labels: inputs.map((id, i) => (id === ids[i] ? 0 : 1)) };
}

/** Teacher forcing: the decoder is given `startId` and then the targets, each of which it has not yet been asked for. −100 becomes `padId`. */
export function shiftRight(targets: Int32Array, shape: readonly [B: number, T: number], startId: number, padId = 0): Int32Array {
  const T = shape[1];
  return targets.map((_, i) => (i % T === 0 ? startId : targets[i - 1] === IGNORED ? padId : targets[i - 1]));
}

/**
 * Next-sentence prediction: half of the second spans follow the first (label 0), half are taken from elsewhere in the corpus (label 1). Devlin et al.
 * 2018, §3.1, where a "sentence" is any span of text.
 */
export function nextSentence<Span>(follows: Span, elsewhere: () => Span, rng: Rng): { second: Span; label: 0 | 1 } {
  return rng.uniform() < 0.5 ? { second: follows, label: 0 } : { second: elsewhere(), label: 1 };
}

/**
 * InfoNCE: row i of `queries` should find row i of `keys` among all of them. −log softmax(q·k/τ)ᵢᵢ, mean over the rows.
 * queries and keys (N, C), of length 1. `symmetric`: the keys must find the queries, too. van den Oord et al. 2018, eq. 4; Gao et al. 2021.
 */
export function infoNCE(queries: Tensor, keys: Tensor, { temperature = 0.05, symmetric = false } = {}): Tensor {
  const { N } = queries.dims('N C');
  keys.dims('N C', { N });
  const own = Int32Array.from({ length: N }, (_, i) => i);
  const similarity = queries.matmul(keys.T).div(temperature); // (N, N)
  const there = crossEntropy(similarity, own);
  return symmetric ? there.add(crossEntropy(similarity.T, own)).mul(0.5) : there;
}
