import { uniform } from '../../random.ts';
import type { Kernels, KernelOptions, View } from '../backend.ts';
import { logSumExp } from './reduce.ts';
import { factor } from './matmul.ts';
import { sizeOf, type Memory, type Numbers } from './view.ts';

// B batch · H heads · G kv heads · T tokens · S source tokens · D head channels · E value channels (D′)

/** The textbook: one query at a time, its scores to all keys, softmax, and the weighted sum of the values.  Vaswani et al. 2017, eq. 1 */
export const attention = (memory: Memory): Pick<Kernels, 'attention' | 'attentionBackward'> => ({
  attention([qView, kView, vView, bias, sinks], [yView, lseView], options) {
    const { scale, softcap, dropout, seed, bf16 } = options;
    const { B, H, G, T, S, D, E } = sizes(qView!, kView!, vView!);
    const q = factor(memory, qView!, bf16);
    const k = factor(memory, kView!, bf16);
    const v = factor(memory, vView!, bf16);
    const added = bias && memory.elements(bias); // strided: a broadcast bias is not copied
    const sink = sinks && memory.load(sinks);
    const y = new Float64Array(B * H * T * E);
    const lses = new Float64Array(B * H * T);
    const scores = new Float64Array(S);

    for (let row = 0; row < B * H * T; row++) {
      const t = row % T;
      const h = Math.floor(row / T) % H;
      const b = Math.floor(row / (T * H));
      const kv = b * G + Math.floor((h * G) / H); // which (S, D) matrix of keys and values
      const { from, to } = allowed(t, T, S, options);
      const addedAt = bias ? bias.offset + b * bias.strides[0] + h * bias.strides[1] + t * bias.strides[2] : 0;

      // 1. scores
      for (let s = from; s < to; s++) {
        scores[s] = scale * dot(q, row * D, k, (kv * S + s) * D, D);
        if (softcap > 0) scores[s] = softcap * Math.tanh(scores[s] / softcap);
        if (added) scores[s] += added[addedAt + s * bias!.strides[3]];
      }
      // 2. softmax; the sink is one more score
      const lse = withSink(logSumExp(scores, from, to - from), sink?.[h]);
      lses[row] = lse;
      if (lse === -Infinity) continue;
      // 3. weighted sum
      for (let s = from; s < to; s++) {
        let weight = Math.exp(scores[s] - lse);
        if (dropout > 0) weight = uniform(seed, row * S + s) >= dropout ? weight / (1 - dropout) : 0;
        if (weight !== 0) addScaled(y, row * E, weight, v, (kv * S + s) * E, E);
      }
    }
    memory.store(yView!, y);
    memory.store(lseView!, lses);
  },

  /**
   * With p = softmax weights, m = dropout mask / (1 − p_drop):  dv = (p·m)ᵀ dy,  dp = m·(dy vᵀ),  ds = p·(dp − Σₛ p·dp) = p·(dp − dy·y),
   * through the soft cap ds·(1 − tanh²), dq = scale·ds k, dk = scale·dsᵀ q.  A sink has no value, so there dp = 0: dsink = −p_sink·(dy·y).
   */
  attentionBackward(
    [dyView, qView, kView, vView, bias, sinks, yView, lseView],
    [dqView, dkView, dvView, dbias, dsinks],
    options,
  ) {
    const { scale, softcap, dropout, seed, bf16 } = options;
    const { B, H, G, T, S, D, E } = sizes(qView!, kView!, vView!);
    const dy = memory.load(dyView!);
    const q = factor(memory, qView!, bf16);
    const k = factor(memory, kView!, bf16);
    const v = factor(memory, vView!, bf16);
    const y = memory.load(yView!);
    const lses = memory.load(lseView!);
    const added = bias && memory.elements(bias); // strided: a broadcast bias is not copied
    const sink = sinks && memory.load(sinks);
    const dq = new Float64Array(B * H * T * D);
    const dk = new Float64Array(B * G * S * D);
    const dv = new Float64Array(B * G * S * E);
    const dsink = new Float64Array(H);
    const db = dbias && new Float64Array(sizeOf(dbias.shape));
    const dbStep = dbias ? broadcastSteps(dbias) : [0, 0, 0, 0];

    for (let row = 0; row < B * H * T; row++) {
      const lse = lses[row];
      if (lse === -Infinity) continue;
      const t = row % T;
      const h = Math.floor(row / T) % H;
      const b = Math.floor(row / (T * H));
      const kv = b * G + Math.floor((h * G) / H);
      const { from, to } = allowed(t, T, S, options);
      const addedAt = bias ? bias.offset + b * bias.strides[0] + h * bias.strides[1] + t * bias.strides[2] : 0;
      const dyDotY = dot(dy, row * E, y, row * E, E);
      if (sink) dsink[h] -= Math.exp(sink[h] - lse) * dyDotY;

      for (let s = from; s < to; s++) {
        // 1. the weight again
        const ks = (kv * S + s) * D;
        const vs = (kv * S + s) * E;
        let score = scale * dot(q, row * D, k, ks, D);
        const cap = softcap > 0 ? Math.tanh(score / softcap) : 0;
        if (softcap > 0) score = softcap * cap;
        if (added) score += added[addedAt + s * bias!.strides[3]];
        const weight = Math.exp(score - lse);
        if (weight === 0) continue;
        // 2. through the weighted sum
        const mask = dropout > 0 ? (uniform(seed, row * S + s) >= dropout ? 1 / (1 - dropout) : 0) : 1;
        const dp = mask * dot(dy, row * E, v, vs, E);
        addScaled(dv, vs, mask * weight, dy, row * E, E);
        // 3. through the softmax, the bias and the soft cap
        let ds = weight * (dp - dyDotY);
        if (db) db[b * dbStep[0] + h * dbStep[1] + t * dbStep[2] + s * dbStep[3]] += ds;
        ds *= scale * (1 - cap * cap);
        // 4. through the product of queries and keys
        addScaled(dq, row * D, ds, k, ks, D);
        addScaled(dk, ks, ds, q, row * D, D);
      }
    }
    memory.store(dqView!, dq);
    memory.store(dkView!, dk);
    memory.store(dvView!, dv);
    if (dbias) memory.store(dbias, db!);
    if (dsinks) memory.store(dsinks, dsink);
  },
});

/** Σ a·b over n numbers of each. */
function dot(a: Numbers, aAt: number, b: Numbers, bAt: number, n: number): number {
  let sum = 0;
  for (let i = 0; i < n; i++) sum += a[aAt + i] * b[bAt + i];
  return sum;
}

/** y += scale · x over n numbers. */
function addScaled(y: Float64Array, yAt: number, scale: number, x: Numbers, xAt: number, n: number): void {
  for (let i = 0; i < n; i++) y[yAt + i] += scale * x[xAt + i];
}

function sizes(q: View, k: View, v: View) {
  const [B, H, T, D] = q.shape;
  const [, G, S] = k.shape;
  return { B, H, G, T, S, D, E: v.shape[3] };
}

/** Keys from … to − 1 are allowed for query t. The last query is at the place of the last key. */
function allowed(t: number, T: number, S: number, { left, right }: KernelOptions['attention']): { from: number; to: number } {
  const at = t + S - T;
  const from = left < 0 ? 0 : Math.min(Math.max(at - left, 0), S);
  const to = right < 0 ? S : Math.min(Math.max(at + right + 1, 0), S);
  return { from, to: Math.max(from, to) };
}

/** log(eˡˢᵉ + eˢⁱⁿᵏ) */
const withSink = (lse: number, sink: number | undefined): number =>
  sink === undefined ? lse : logSumExp(Float64Array.of(lse, sink) satisfies Numbers, 0, 2);

/** How far a step along (b, h, t, s) goes in a contiguous view whose broadcast axes have size 1. */
function broadcastSteps({ shape }: View): number[] {
  return shape.map((size, a) => (size === 1 ? 0 : sizeOf(shape.slice(a + 1))));
}
