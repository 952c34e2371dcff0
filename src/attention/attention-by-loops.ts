// Attention for one head as loops over numbers: the first of its three forms. `plainAttention` writes it in tensor operations, `attention`
// tiles it; test/mathematics/3.1-scaled-dot-product.test.ts holds the three together.
// T queries · S keys · D head channels · E value channels

export interface LoopOptions {
  /** Multiplies q·k; 1/√D when left out. */
  scale?: number;
  causal?: boolean;
  /** Places to the left that a query sees. */
  window?: number;
  /** Added to the scores, bias[t][s]. */
  bias?: readonly (readonly number[])[];
  softcap?: number;
  /** A score that takes weight and gives nothing. */
  sink?: number;
  /** What dropout multiplies weight (t, s) by: 0 or 1/(1 − p). */
  keep?: (t: number, s: number) => number;
}
type Rows = readonly (readonly number[])[];

/** y[t] = Σₛ weights[t][s] · v[s].  q T rows of D, k S rows of D, v S rows of E → T rows of E.  Vaswani et al. 2017, eq. 1. */
export function attentionByLoops(q: Rows, k: Rows, v: Rows, options: LoopOptions = {}): number[][] {
  const { keep = () => 1 } = options;
  return q.map((_, t) => {
    const { weights } = weightsOfRow(q, k, t, options);
    const y = new Array<number>(v[0].length).fill(0);
    for (let s = 0; s < v.length; s++) for (let e = 0; e < y.length; e++) y[e] += weights[s] * keep(t, s) * v[s][e];
    return y;
  });
}

/**
 * The derivatives of Σ y·dy, row by row of the weights p = softmax(scores):
 *   dv[s] = Σₜ p[t][s] dy[t],  dp[s] = dy[t]·v[s],  dscores[s] = p[s] (dp[s] − Σ p·dp),  dq[t] = scale Σₛ dscores[s] k[s],  dk[s] = scale Σₜ dscores[s] q[t]
 */
export function attentionGradientsByLoops(
  q: Rows,
  k: Rows,
  v: Rows,
  dy: Rows,
  options: LoopOptions = {},
): { dq: number[][]; dk: number[][]; dv: number[][] } {
  const { keep = () => 1, scale = 1 / Math.sqrt(q[0].length), softcap } = options;
  const [dq, dk, dv] = [q, k, v].map((x) => x.map((row) => row.map(() => 0)));
  for (let t = 0; t < q.length; t++) {
    const { weights, capped } = weightsOfRow(q, k, t, options);
    const dweights = v.map((row, s) => keep(t, s) * dot(dy[t], row));
    const mean = dot(weights, dweights);
    for (let s = 0; s < k.length; s++) {
      for (let e = 0; e < dv[s].length; e++) dv[s][e] += weights[s] * keep(t, s) * dy[t][e];
      let dscore = weights[s] * (dweights[s] - mean);
      if (softcap) dscore *= 1 - (capped[s] / softcap) ** 2; // d tanh = 1 − tanh²
      for (let d = 0; d < q[t].length; d++) {
        dq[t][d] += scale * dscore * k[s][d];
        dk[s][d] += scale * dscore * q[t][d];
      }
    }
  }
  return { dq, dk, dv };
}

/** softmax of one row of scores; zeros where the query may see no key. `capped` are the scores before bias and mask. */
function weightsOfRow(q: Rows, k: Rows, t: number, { scale, causal, window, bias, softcap, sink }: LoopOptions) {
  const [T, S, D] = [q.length, k.length, q[0].length];
  const place = t + S - T; // queries and keys are aligned at the end
  const capped = k.map((key) => {
    const score = dot(q[t], key) * (scale ?? 1 / Math.sqrt(D));
    return softcap ? softcap * Math.tanh(score / softcap) : score;
  });
  const scores = capped.map((score, s) => {
    const allowed = (!causal || s <= place) && (window === undefined || s >= place - window);
    return allowed ? score + (bias ? bias[t][s] : 0) : -Infinity;
  });
  const greatest = Math.max(...scores, sink ?? -Infinity);
  if (greatest === -Infinity) return { weights: scores.map(() => 0), capped };
  const exps = scores.map((score) => Math.exp(score - greatest)); // − greatest: no overflow, the same quotient
  const total = exps.reduce((a, b) => a + b, sink === undefined ? 0 : Math.exp(sink - greatest));
  return { weights: exps.map((e) => e / total), capped };
}

function dot(a: readonly number[], b: readonly number[]): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}
