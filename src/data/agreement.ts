// How far annotators agree beyond chance: 1 always, 0 as chance would, below 0 less than chance.
// A annotators · N items · K values; ratings[a][i] is what annotator a says of item i, null where nothing.

export type Ratings = readonly (readonly (string | number | null)[])[];

/** All different values, numbers in their order, texts in the order of their code units. */
function valuesOf(ratings: Ratings): (string | number)[] {
  const all = [...new Set(ratings.flat().filter((v) => v !== null))];
  return all.sort((a, b) => (typeof a === 'number' && typeof b === 'number' ? a - b : String(a) < String(b) ? -1 : 1));
}

function checkShape(name: string, ratings: Ratings, least: number): number {
  const items = ratings[0]?.length ?? 0;
  if (ratings.length < least || ratings.some((r) => r.length !== items))
    throw new RangeError(
      `${name}: needs ${least === 2 ? 'two or more' : least} annotators with the same items, got ${ratings.map((r) => r.length).join(' and ') || 'none'}`,
    );
  return items;
}

/**
 * Cohen's κ = 1 − Σ w_ij O_ij / Σ w_ij E_ij of two annotators, O_ij observed and E_ij expected shares of (i, j); items that one of them left out do not
 * count. Weights: `none` w = [i ≠ j]; `linear` |i − j|; `quadratic` (i − j)², i and j being places in the order of the values. NaN when nobody ever
 * differs and chance could not differ either.  Cohen 1960, 1968.
 */
export function cohenKappa(a: Ratings[number], b: Ratings[number], weights: 'none' | 'linear' | 'quadratic' = 'none'): number {
  checkShape('cohenKappa', [a, b], 2);
  const values = valuesOf([a, b]);
  const place = new Map(values.map((v, i) => [v, i]));
  const pairs = a.flatMap((v, i) => (v === null || b[i] === null ? [] : [[place.get(v)!, place.get(b[i]!)!]]));
  const weight = (i: number, j: number) =>
    weights === 'none' ? Number(i !== j) : weights === 'linear' ? Math.abs(i - j) : (i - j) ** 2;
  const countA = new Float64Array(values.length);
  const countB = new Float64Array(values.length);
  let observed = 0;
  for (const [i, j] of pairs) {
    observed += weight(i, j);
    countA[i]++;
    countB[j]++;
  }
  let expected = 0;
  for (const [i, n] of countA.entries()) for (const [j, m] of countB.entries()) expected += (weight(i, j) * n * m) / pairs.length;
  return 1 - observed / expected;
}

/**
 * Fleiss' κ = (P̄ − P̄ₑ) / (1 − P̄ₑ):  P̄ the mean over items of the share of pairs of annotators that agree, P̄ₑ = Σ p_j² with p_j the share of value j
 * among all ratings. Every item must have the same number of ratings (Krippendorff's α needs not).  Fleiss 1971.
 */
export function fleissKappa(ratings: Ratings): number {
  const N = checkShape('fleissKappa', ratings, 2);
  const A = ratings.length;
  if (ratings.some((r) => r.includes(null)))
    throw new RangeError('fleissKappa: an item without a rating; take krippendorffAlpha');
  const totals = new Map<string | number, number>();
  let agreement = 0;
  for (let i = 0; i < N; i++) {
    const counts = new Map<string | number, number>();
    for (const r of ratings) counts.set(r[i]!, (counts.get(r[i]!) ?? 0) + 1);
    for (const [v, n] of counts) {
      agreement += (n * (n - 1)) / (A * (A - 1));
      totals.set(v, (totals.get(v) ?? 0) + n);
    }
  }
  const chance = [...totals.values()].reduce((sum, n) => sum + (n / (N * A)) ** 2, 0);
  return (agreement / N - chance) / (1 - chance);
}

/** How far two values are apart: `nominal` the same or not · `ordinal` by the ratings between them · `interval` by the square of their difference. */
export type Level = 'nominal' | 'ordinal' | 'interval';

/**
 * Krippendorff's α = 1 − Dₒ / Dₑ, over items with two ratings or more; any number of annotators, ratings may be missing.
 *
 *     o_ck = Σ_items (pairs with c and k) / (m_item − 1)     n_c = Σ_k o_ck     α = 1 − (n − 1) Σ o_ck δ²_ck / Σ n_c n_k δ²_ck
 *
 * δ²: nominal [c ≠ k]; ordinal (Σ_{g=c}^{k} n_g − (n_c + n_k) / 2)²; interval (c − k)². NaN when all values are the same.  Krippendorff 2011.
 */
export function krippendorffAlpha(ratings: Ratings, level: Level = 'nominal'): number {
  const N = checkShape('krippendorffAlpha', ratings, 2);
  const values = valuesOf(ratings);
  if (level === 'interval' && values.some((v) => typeof v !== 'number'))
    throw new RangeError(
      `krippendorffAlpha: interval needs numbers, got ${JSON.stringify(values.find((v) => typeof v !== 'number'))}`,
    );
  const K = values.length;
  const place = new Map(values.map((v, i) => [v, i]));
  const together = new Float64Array(K * K); // o
  for (let i = 0; i < N; i++) {
    const said = ratings.flatMap((r) => (r[i] === null ? [] : [place.get(r[i]!)!]));
    for (const [p, c] of said.entries())
      for (const [q, k] of said.entries()) if (p !== q) together[c * K + k] += 1 / (said.length - 1);
  }
  const n = values.map((_, c) => together.subarray(c * K, (c + 1) * K).reduce((a, b) => a + b, 0));
  const total = n.reduce((a, b) => a + b, 0);
  const distance = (c: number, k: number): number => {
    if (c === k) return 0;
    if (level === 'nominal') return 1;
    if (level === 'interval') return ((values[c] as number) - (values[k] as number)) ** 2;
    let between = -(n[c] + n[k]) / 2;
    for (let g = Math.min(c, k); g <= Math.max(c, k); g++) between += n[g];
    return between ** 2;
  };
  let observed = 0;
  let expected = 0;
  for (let c = 0; c < K; c++)
    for (let k = 0; k < K; k++) {
      observed += together[c * K + k] * distance(c, k);
      expected += n[c] * n[k] * distance(c, k);
    }
  return 1 - ((total - 1) * observed) / expected;
}
