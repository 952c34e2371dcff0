/** The error function to about 1e-15, relative also in the tails. */

/** erf(x) = 2/√π ∫₀ˣ e^(−t²) dt */
export const erf = (x: number): number => (Math.abs(x) < 2 ? series(x) : Math.sign(x) * (1 - tail(Math.abs(x))));

/** 1 − erf(x) */
export const erfc = (x: number): number => (x < 0 ? 2 - erfc(-x) : x < 2 ? 1 - series(x) : tail(x));

/** Φ(x) = P(N(0, 1) ≤ x) */
export const gaussianCdf = (x: number): number => 0.5 * erfc(-x * Math.SQRT1_2);

/** φ(x) = Φ′(x) */
export const gaussianPdf = (x: number): number => Math.exp(-0.5 * x * x) / Math.sqrt(2 * Math.PI);

/** erf(x) = 2/√π · e^(−x²) · Σₙ 2ⁿ x²ⁿ⁺¹ / (1·3·5⋯(2n+1)): every term has the sign of x, so nothing cancels.  Abramowitz & Stegun 7.1.6 */
function series(x: number): number {
  let term = x;
  let sum = x;
  for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
    term *= (2 * x * x) / (2 * n + 1);
    sum += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}

/** erfc(x) = e^(−x²)/√π · 1/(x + (1/2)/(x + (2/2)/(x + (3/2)/(x + …)))) for x ≥ 2, from the inside out.  Abramowitz & Stegun 7.1.14 */
function tail(x: number): number {
  if (Number.isNaN(x) || x > 28) return Number.isNaN(x) ? x : 0; // below the smallest double
  let fraction = x;
  for (let n = 60; n > 0; n--) fraction = x + n / 2 / fraction;
  return Math.exp(-x * x) / (Math.sqrt(Math.PI) * fraction);
}
