/** What the heads of a decoder do with one text, in numbers: how much of each known pattern, and how spread out. */
// L layers · H heads · T tokens

export interface HeadScore {
  layer: number;
  head: number;
  /** Mean weight on the token before. */
  previous: number;
  /** Mean weight on the first token, for queries after it. */
  first: number;
  /** Mean weight on the token itself, for queries after the first, which has no choice. */
  self: number;
  /** Mean weight on earlier copies of the same token, where there are any; NaN when no token repeats. */
  duplicate: number;
  /** Mean weight on the tokens that followed earlier copies (Olsson et al. 2022); NaN when no token repeats. */
  induction: number;
  /** Mean entropy of a row, in nats. */
  entropy: number;
  /** The pattern with the highest score, when it is at least a third; else `spread`. */
  pattern: Pattern;
}

export const patterns = ['previous', 'first', 'self', 'duplicate', 'induction'] as const;
export type Pattern = (typeof patterns)[number] | 'spread';

/** Scores of one head from its weights (T, T), row = query, each row summing to one, causal. */
export function scoreHead(weights: ArrayLike<number>, ids: ArrayLike<number>, layer: number, head: number): HeadScore {
  const T = ids.length;
  const at = (q: number, k: number) => weights[q * T + k];
  let previous = 0;
  let first = 0;
  let self = 0;
  let entropy = 0;
  let duplicate = 0;
  let induction = 0;
  let repeats = 0;
  for (let q = 0; q < T; q++) {
    if (q > 0) {
      self += at(q, q) / (T - 1);
      previous += at(q, q - 1) / (T - 1);
      first += at(q, 0) / (T - 1);
    }
    for (let k = 0; k <= q; k++) {
      const w = at(q, k);
      if (w > 0) entropy -= (w * Math.log(w)) / T;
    }
    let copies = 0;
    let after = 0;
    let seen = false;
    for (let k = 0; k < q; k++) {
      if (ids[k] !== ids[q]) continue;
      seen = true;
      copies += at(q, k);
      after += at(q, k + 1);
    }
    if (seen) {
      repeats++;
      duplicate += copies;
      induction += after;
    }
  }
  const scores = {
    previous,
    first,
    self,
    duplicate: repeats ? duplicate / repeats : Number.NaN,
    induction: repeats ? induction / repeats : Number.NaN,
  };
  let pattern: Pattern = 'spread';
  let most = 1 / 3;
  for (const name of patterns) {
    if (scores[name] >= most) {
      most = scores[name];
      pattern = name;
    }
  }
  return { layer, head, ...scores, entropy, pattern };
}
