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

/** One id from one row of logits (V). `seen`: the ids so far, for the repetition penalty. */
export function sample(
  logits: Float32Array,
  { temperature = 1, topK, topP, minP, repetitionPenalty = 1 }: SamplingOptions,
  rng: Rng,
  seen: Iterable<number> = [],
): number {
  const scores = Float64Array.from(logits);
  if (repetitionPenalty !== 1) {
    for (const id of new Set(seen))
      if (id < scores.length) scores[id] = scores[id] > 0 ? scores[id] / repetitionPenalty : scores[id] * repetitionPenalty;
  }
  if (temperature === 0) return argmax(scores);
  const probs = candidates(scores, temperature, { topK, topP, minP });
  let u = rng.uniform() * probs.reduce((s, c) => s + c.p, 0);
  for (const c of probs) if ((u -= c.p) < 0) return c.id;
  return probs[probs.length - 1].id;
}

/** The ids that may be drawn, most probable first, with softmax(scores/temperature) restricted by the filters in the order top-k, top-p, min-p. */
export function candidates(
  scores: Float64Array,
  temperature: number,
  { topK, topP, minP }: Pick<SamplingOptions, 'topK' | 'topP' | 'minP'>,
): { id: number; p: number }[] {
  const max = scores.reduce((m, s) => Math.max(m, s), -Infinity);
  let kept = Array.from(scores, (s, id) => ({ id, p: Math.exp((s - max) / temperature) })).filter((c) => c.p > 0);
  if (topK !== undefined || topP !== undefined || minP !== undefined) {
    kept.sort((a, b) => b.p - a.p || a.id - b.id);
    if (topK !== undefined) kept = kept.slice(0, Math.max(1, topK));
    if (topP !== undefined) {
      const total = kept.reduce((s, c) => s + c.p, 0);
      let sum = 0;
      let n = 0;
      while (n < kept.length && sum < topP * total) sum += kept[n++].p;
      kept = kept.slice(0, Math.max(1, n));
    }
    if (minP !== undefined) kept = kept.filter((c) => c.p >= minP * kept[0].p);
  }
  return kept;
}

function argmax(scores: Float64Array): number {
  let best = 0;
  for (let i = 1; i < scores.length; i++) if (scores[i] > scores[best]) best = i;
  return best;
}
