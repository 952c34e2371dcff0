import type { Kernels, ReduceFn } from '../backend.ts';
import { permuted, rowsOf, sizeOf, type Memory, type Numbers } from './view.ts';

export const reduce = (
  memory: Memory,
): Pick<Kernels, 'reduce' | 'argmax' | 'topK' | 'softmax' | 'softmaxBackward' | 'logSoftmax' | 'logSoftmaxBackward'> => ({
  /** The reduced axes are moved to the end, so that each result is one row. */
  reduce([x], [y], { f, axes }) {
    const all = x!.shape.map((_, a) => a);
    const isReduced = (a: number) => ((axes >> a) & 1) === 1;
    const moved = permuted(x!, [...all.filter((a) => !isReduced(a)), ...all.filter(isReduced)]);
    const C = sizeOf(x!.shape.filter((_, a) => isReduced(a)));
    const values = memory.load(moved);
    const out = new Float64Array(sizeOf(y!.shape));
    for (let r = 0; r < out.length; r++) out[r] = reduceTable[f](values, r * C, C);
    memory.store(y!, out);
  },

  argmax([x], [y]) {
    const { R, C } = rowsOf(x!);
    const values = memory.load(x!);
    const out = new Float64Array(R);
    for (let r = 0; r < R; r++) {
      let best = 0;
      for (let c = 1; c < C; c++) if (values[r * C + c] > values[r * C + best]) best = c;
      out[r] = best;
    }
    memory.store(y!, out);
  },

  topK([x], [y, index], { k }) {
    const { R, C } = rowsOf(x!);
    const values = memory.load(x!);
    const best = new Float64Array(R * k);
    const where = new Float64Array(R * k);
    for (let r = 0; r < R; r++) {
      const row = values.subarray(r * C, (r + 1) * C);
      // sort is stable: equal values keep the order of their indices. Infinities must not be subtracted.
      const order = Array.from(row.keys()).sort((i, j) => (row[i] < row[j] ? 1 : row[i] > row[j] ? -1 : 0));
      for (let n = 0; n < k; n++) {
        best[r * k + n] = row[order[n]];
        where[r * k + n] = order[n];
      }
    }
    memory.store(y!, best);
    memory.store(index!, where);
  },

  softmax([x], [y]) {
    const { R, C } = rowsOf(x!);
    const values = memory.load(x!);
    const out = new Float64Array(R * C);
    for (let r = 0; r < R; r++) {
      const lse = logSumExp(values, r * C, C);
      for (let i = r * C; i < (r + 1) * C; i++) out[i] = lse === -Infinity ? 0 : Math.exp(values[i] - lse);
    }
    memory.store(y!, out);
  },
  softmaxBackward([dy, y], [dx]) {
    const { R, C } = rowsOf(y!);
    const d = memory.load(dy!);
    const p = memory.load(y!);
    const out = new Float64Array(R * C);
    for (let r = 0; r < R; r++) {
      let dot = 0;
      for (let i = r * C; i < (r + 1) * C; i++) dot += d[i] * p[i];
      for (let i = r * C; i < (r + 1) * C; i++) out[i] = p[i] * (d[i] - dot);
    }
    memory.store(dx!, out);
  },

  logSoftmax([x], [y]) {
    const { R, C } = rowsOf(x!);
    const values = memory.load(x!);
    const out = new Float64Array(R * C);
    for (let r = 0; r < R; r++) {
      const lse = logSumExp(values, r * C, C);
      for (let i = r * C; i < (r + 1) * C; i++) out[i] = lse === -Infinity ? -Infinity : values[i] - lse;
    }
    memory.store(y!, out);
  },
  logSoftmaxBackward([dy, y], [dx]) {
    const { R, C } = rowsOf(y!);
    const d = memory.load(dy!);
    const logp = memory.load(y!);
    const out = new Float64Array(R * C);
    for (let r = 0; r < R; r++) {
      const total = sum(d, r * C, C);
      for (let i = r * C; i < (r + 1) * C; i++) out[i] = d[i] - Math.exp(logp[i]) * total;
    }
    memory.store(dx!, out);
  },
});

function sum(x: Numbers, start: number, n: number): number {
  let total = 0;
  for (let i = start; i < start + n; i++) total += x[i];
  return total;
}

function max(x: Numbers, start: number, n: number): number {
  let best = -Infinity;
  for (let i = start; i < start + n; i++) best = Math.max(best, x[i]);
  return best;
}

function min(x: Numbers, start: number, n: number): number {
  let best = Infinity;
  for (let i = start; i < start + n; i++) best = Math.min(best, x[i]);
  return best;
}

/** log Σ exp(x) = m + log Σ exp(x − m), m = max x; −∞ when there is nothing but −∞. */
export function logSumExp(x: Numbers, start: number, n: number): number {
  const m = max(x, start, n);
  if (m === -Infinity || m === Infinity) return m;
  let total = 0;
  for (let i = start; i < start + n; i++) total += Math.exp(x[i] - m);
  return m + Math.log(total);
}

/** Of x[start] … x[start + n − 1] */
const reduceTable: Record<ReduceFn, (x: Numbers, start: number, n: number) => number> = {
  sum,
  mean: (x, start, n) => sum(x, start, n) / n,
  max,
  min,
  logsumexp: logSumExp,
};
