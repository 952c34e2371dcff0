import type { Rng } from '../tensor/index.ts';

export interface SamplingOptions {
  /** Divides the logits: below 1 sharpens, above 1 flattens, 0 takes the most probable. */
  temperature?: number;
  /** Keeps the k most probable. */
  topK?: number;
  /** Keeps the smallest set whose probabilities reach p. Holtzman et al. 2020. */
  topP?: number;
  /** Keeps what is at least minP times as probable as the most probable. Nguyen et al. 2024. */
  minP?: number;
  /** Divides positive logits of ids seen before by this, multiplies negative ones. Keskar et al. 2019, §4.1. */
  repetitionPenalty?: number;
}
type Scores = Float32Array | Float64Array;

/** One id from one row of logits (V). `seen`: the ids so far, for the repetition penalty. */
export function sample(
  logits: Float32Array,
  { temperature = 1, topK, topP, minP, repetitionPenalty = 1 }: SamplingOptions,
  rng: Rng,
  seen: Iterable<number> = [],
): number {
  let scores: Scores = logits;
  if (repetitionPenalty !== 1) {
    scores = Float64Array.from(logits);
    for (const id of new Set(seen))
      if (id < scores.length) scores[id] = scores[id] > 0 ? scores[id] / repetitionPenalty : scores[id] * repetitionPenalty;
  }
  if (temperature === 0) return argmax(scores);
  if (topK === undefined && topP === undefined && minP === undefined) return drawAny(scores, temperature, rng);
  const probs = candidates(scores, temperature, { topK, topP, minP });
  let u = rng.uniform() * probs.reduce((s, c) => s + c.p, 0);
  for (const c of probs) if ((u -= c.p) < 0) return c.id;
  return probs[probs.length - 1].id;
}

/** An id by its probability, in the order of the ids: without a filter nothing needs to be sorted. */
function drawAny(scores: Scores, temperature: number, rng: Rng): number {
  const p = probabilities(scores, temperature);
  let u = rng.uniform() * p.total;
  let last = 0;
  for (let id = 0; id < p.values.length; id++) {
    if (p.values[id] === 0) continue;
    last = id;
    if ((u -= p.values[id]) < 0) return id;
  }
  return last;
}

/** e^((score − max)/temperature) of each id, and their sum. */
function probabilities(scores: Scores, temperature: number): { values: Float64Array; total: number } {
  let max = -Infinity;
  for (let i = 0; i < scores.length; i++) if (scores[i] > max) max = scores[i];
  const values = new Float64Array(scores.length);
  let total = 0;
  for (let i = 0; i < values.length; i++) total += values[i] = Math.exp((scores[i] - max) / temperature);
  return { values, total };
}

/** The ids that may be drawn, most probable first, with softmax(scores/temperature) restricted by the filters in the order top-k, top-p, min-p. */
export function candidates(
  scores: Scores,
  temperature: number,
  { topK, topP, minP }: Pick<SamplingOptions, 'topK' | 'topP' | 'minP'>,
): { id: number; p: number }[] {
  const { values, total } = probabilities(scores, temperature);
  const sum = (some: readonly { p: number }[]): number => some.reduce((s, c) => s + c.p, 0);
  /** Whether the filters can be answered from those above the bound. */
  const enough = (kept: readonly { p: number }[], bound: number): boolean => {
    if (bound === 0) return true;
    if (topK !== undefined) return kept.length >= topK;
    return topP !== undefined ? sum(kept) >= topP * total : minP !== undefined && bound <= minP;
  };
  // Only the probable ones are sorted: those above a bound, which is lowered until they are enough.
  let bound = topK === undefined && topP === undefined ? (minP ?? 0) : 1e-2;
  let kept = atLeast(values, bound);
  while (!enough(kept, bound)) {
    bound = bound < 1e-12 ? 0 : bound * bound;
    kept = atLeast(values, bound);
  }
  if (topK !== undefined) kept = kept.slice(0, Math.max(1, topK));
  if (topP !== undefined) {
    const goal = topP * (topK === undefined ? total : sum(kept));
    let reached = 0;
    let n = 0;
    while (n < kept.length && reached < goal) reached += kept[n++].p;
    kept = kept.slice(0, Math.max(1, n));
  }
  if (minP !== undefined) kept = kept.filter((c) => c.p >= minP * kept[0].p);
  return kept;
}

/** Ids whose p is at least `bound` and not 0, most probable first, ties by id. */
function atLeast(values: Float64Array, bound: number): { id: number; p: number }[] {
  const kept: { id: number; p: number }[] = [];
  for (let id = 0; id < values.length; id++) if (values[id] >= bound && values[id] > 0) kept.push({ id, p: values[id] });
  return kept.sort((a, b) => b.p - a.p || a.id - b.id);
}

function argmax(scores: Scores): number {
  let best = 0;
  for (let i = 1; i < scores.length; i++) if (scores[i] > scores[best]) best = i;
  return best;
}
