import type { Kernels, KernelOptions } from '../backend.ts';
import { factor } from './matmul.ts';
import { logSumExp } from './reduce.ts';
import { rowsOf, type Memory, type Numbers } from './view.ts';

// R rows · V vocabulary · C channels

export const loss = (memory: Memory): Pick<Kernels, 'crossEntropy' | 'crossEntropyBackward' | 'linearCrossEntropy'> => ({
  crossEntropy([logitsView, targetsView], [lossView, lseView], options) {
    const { R, C: V } = rowsOf(logitsView!);
    const logits = memory.load(logitsView!);
    const targets = memory.load(targetsView!);
    const lses = new Float64Array(R);
    let total = 0;
    for (let r = 0; r < R; r++) {
      const row = logits.subarray(r * V, (r + 1) * V);
      lses[r] = logSumExp(row, 0, V);
      if (targets[r] !== options.ignoreIndex) total += rowLoss(row, targets[r], lses[r], options);
    }
    memory.store(lossView!, [total / Math.max(counted(targets, options.ignoreIndex), 1)]);
    memory.store(lseView!, lses);
  },

  crossEntropyBackward([dloss, logitsView, targetsView, lseView], [dlogits], options) {
    const { R, C: V } = rowsOf(logitsView!);
    const logits = memory.load(logitsView!);
    const targets = memory.load(targetsView!);
    const lses = memory.load(lseView!);
    const scale = memory.load(dloss!)[0] / Math.max(counted(targets, options.ignoreIndex), 1);
    const out = new Float64Array(R * V);
    for (let r = 0; r < R; r++) {
      if (targets[r] === options.ignoreIndex) continue;
      rowGradient(logits.subarray(r * V, (r + 1) * V), targets[r], lses[r], options, scale, out.subarray(r * V, (r + 1) * V));
    }
    memory.store(dlogits!, out);
  },

  /** One row of logits at a time: x·wᵀ + bias, its loss, its gradient, and that times w and x. */
  linearCrossEntropy([xView, wView, biasView, targetsView], [lossView, dxView, dwView, dbiasView], options) {
    const { R, C } = rowsOf(xView!);
    const V = wView!.shape[0];
    const x = factor(memory, xView!, options.bf16);
    const w = factor(memory, wView!, options.bf16);
    const bias = biasView && memory.load(biasView);
    const targets = memory.load(targetsView!);
    const scale = 1 / Math.max(counted(targets, options.ignoreIndex), 1);
    const dx = dxView && new Float64Array(R * C);
    const dw = dwView && new Float64Array(V * C);
    const dbias = dbiasView && new Float64Array(V);
    const logits = new Float64Array(V);
    const d = new Float64Array(V);
    let total = 0;
    for (let r = 0; r < R; r++) {
      if (targets[r] === options.ignoreIndex) continue;
      for (let v = 0; v < V; v++) {
        let dot = bias ? bias[v] : 0;
        for (let c = 0; c < C; c++) dot += x[r * C + c] * w[v * C + c];
        logits[v] = dot;
      }
      const lse = logSumExp(logits, 0, V);
      total += rowLoss(logits, targets[r], lse, options);
      if (!dx && !dw && !dbias) continue;
      rowGradient(logits, targets[r], lse, options, scale, d);
      for (let v = 0; v < V; v++) {
        const g = d[v];
        if (dx) for (let c = 0; c < C; c++) dx[r * C + c] += g * w[v * C + c];
        if (dw) for (let c = 0; c < C; c++) dw[v * C + c] += g * x[r * C + c];
        if (dbias) dbias[v] += g;
      }
    }
    memory.store(lossView!, [total * scale]);
    if (dx) memory.store(dxView, dx);
    if (dw) memory.store(dwView, dw);
    if (dbias) memory.store(dbiasView, dbias);
  },
});

type LossOptions = KernelOptions['crossEntropy'];

function counted(targets: Numbers, ignoreIndex: number): number {
  let n = 0;
  for (let r = 0; r < targets.length; r++) if (targets[r] !== ignoreIndex) n++;
  return n;
}

/** (1 − ε)(lse − l[t]) + ε(lse − mean l) + zLoss·lse².  A term with weight 0 is left out, so that a logit of −∞ does no harm there. */
function rowLoss(row: Numbers, target: number, lse: number, { labelSmoothing, zLoss }: LossOptions): number {
  let value = (1 - labelSmoothing) * (lse - row[target]);
  if (labelSmoothing > 0) {
    let mean = 0;
    for (let v = 0; v < row.length; v++) mean += row[v] / row.length;
    value += labelSmoothing * (lse - mean);
  }
  return zLoss > 0 ? value + zLoss * lse * lse : value;
}

/** ∂/∂l[v] = p[v]·(1 + 2·zLoss·lse) − (1 − ε)·[v = t] − ε/V, times `scale` */
function rowGradient(
  row: Numbers,
  target: number,
  lse: number,
  { labelSmoothing, zLoss }: LossOptions,
  scale: number,
  out: Float64Array,
): void {
  const V = row.length;
  const weight = zLoss > 0 ? 1 + 2 * zLoss * lse : 1;
  for (let v = 0; v < V; v++) out[v] = scale * (Math.exp(row[v] - lse) * weight - labelSmoothing / V);
  out[target] -= scale * (1 - labelSmoothing);
}
