// Operations that the literature names and that pay to be one kernel: norms, gated units, rotary positions, attention, losses.

import { isTaping } from '../autograd.ts';
import { precision, run } from '../engine.ts';
import { tidy } from '../scope.ts';
import { broadcastStrides, check, type Shape, show, size } from '../shape.ts';
import { Tensor } from '../tensor.ts';
import { broadcast } from './elementwise.ts';
import { checkIds } from './indexing.ts';
import { apply, lastContiguous, op, rows } from './op.ts';
import { QuantisedWeight } from './quantised.ts';

const perChannel = (name: string, x: Tensor, w: Tensor | undefined): void => {
  const C = x.shape.at(-1)!;
  check(
    !w || (w.shape.length === 1 && w.shape[0] === C),
    () => `${name}: weight and bias must be (${C}) for an input ${show(x.shape)}, but got ${show(w!.shape)}`,
  );
};
const rowCount = (shape: Shape): number => size(shape.slice(0, -1));

/**
 * y = (x − mean)/√(var + ε) · w + b over the last axis. Ba et al. 2016, eq. 4.
 * With n = (x − mean)·rstd and g = dy·w:  dx = rstd·(g − mean(g) − n·mean(g·n)),  dw = Σ dy·n,  db = Σ dy
 */
export const layerNormOp = op<{ eps: number }>({
  outputs: ([x, w, b]) => {
    perChannel('layerNorm', x, w);
    perChannel('layerNorm', x, b);
    return [{ shape: x.shape }, { shape: [rowCount(x.shape)] }, { shape: [rowCount(x.shape)] }];
  },
  forward: ([x, w, b], [y, mean, rstd], o) => run('layerNorm', [rows(x), w, b], [rows(y), mean, rstd], o),
  saves: { inputs: true, outputs: [1, 2] },
  cheap: true,
  backward: ({ dy, x: [x, w], y: [, mean, rstd], shapes, room }) => {
    const dx = room(0);
    const dw = Tensor.empty(shapes[1], 'f32', undefined, 'dlayerNorm');
    const db = shapes[2].length ? Tensor.empty(shapes[2], 'f32', undefined, 'dlayerNorm') : undefined;
    run('layerNormBackward', [rows(dy), rows(x), w, mean, rstd], [rows(dx), dw, db], {});
    return [dx, dw, db];
  },
});

/**
 * y = x · rstd · (w + offset),  rstd = 1/√(mean(x²) + ε), over the last axis. Zhang & Sennrich 2019, eq. 4; offset 1 is Gemma's.
 * With n = x·rstd and g = dy·(w + offset):  dx = rstd·(g − n·mean(g·n)),  dw = Σ dy·n
 */
export const rmsNormOp = op<{ eps: number; offset: number }>({
  outputs: ([x, w]) => {
    perChannel('rmsNorm', x, w);
    return [{ shape: x.shape }, { shape: [rowCount(x.shape)] }];
  },
  forward: ([x, w], [y, rstd], o) => run('rmsNorm', [rows(x), w], [rows(y), rstd], o),
  saves: { inputs: true, outputs: [1] },
  cheap: true,
  backward: ({ dy, x: [x, w], y: [, rstd], shapes, options: { offset }, room }) => {
    const dx = room(0);
    const dw = Tensor.empty(shapes[1], 'f32', undefined, 'drmsNorm');
    run('rmsNormBackward', [rows(dy), rows(x), w, rstd], [rows(dx), dw], { offset });
    return [dx, dw];
  },
});

/** y = silu(gate) · up. Shazeer 2020, eq. 5.  With s = sigmoid(gate):  dgate = dy·up·s·(1 + gate·(1 − s)),  dup = dy·gate·s */
export const swigluOp = op<void>({
  outputs: ([gate, up]) => {
    check(
      gate.shape.length === up.shape.length && gate.shape.every((d, a) => d === up.shape[a]),
      () => `swiglu: gate ${show(gate.shape)} and up ${show(up.shape)} must have one shape`,
    );
    return [{ shape: gate.shape }];
  },
  forward: ([gate, up], [y]) => run('swiglu', [rows(gate), rows(up)], [rows(y)], {}),
  saves: { inputs: true },
  cheap: true,
  backward: ({ dy, x: [gate, up], room }) => {
    const [dgate, dup] = [room(0), room(1)];
    run('swigluBackward', [rows(dy), rows(gate), rows(up)], [rows(dgate), rows(dup)], {});
    return [dgate, dup];
  },
});

/** Memory order (B, T, H, D) for a tensor seen as (B, H, T, D): heads of one token side by side, so that merging them again is a view. */
const headStrides = ([, H, T, D]: Shape): number[] => [T * H * D, D, H * D, 1];

/** Turns channel pairs by the angles of `cos` and `sin` (T, P).  dx = dy turned back. Su et al. 2021, eq. 34. */
export const ropeOp = op<{ interleaved: boolean; inverse: boolean }>({
  outputs: ([x, cos, sin]) => {
    const { T, D } = x.dims('B H T D');
    const { P } = cos.dims('T P', { T });
    sin.dims('T P', { T, P });
    check(2 * P <= D, () => `rope: ${P} pairs need ${2 * P} channels, but a head of ${show(x.shape)} has ${D}`);
    return [{ shape: x.shape, strides: headStrides(x.shape) }];
  },
  forward: ([x, cos, sin], [y], o) => run('rope', [lastContiguous(x), cos, sin], [y], o),
  saves: { inputs: [1, 2] },
  backward: ({ dy, x: [, cos, sin], shapes: [shape], options: { interleaved, inverse } }) => {
    const dx = Tensor.empty(shape, 'f32', headStrides(shape), 'drope');
    run('rope', [lastContiguous(dy), cos, sin], [dx], { interleaved, inverse: !inverse });
    return [dx, undefined, undefined];
  },
});

export interface AttentionOptions {
  /** Multiplies q·k; 1/√D when left out. */
  scale?: number;
  /** Query t sees keys up to its own place only (aligned at the end when there are more keys than queries). */
  causal?: boolean;
  /** Keys further than this many places to the left are not seen. */
  window?: number;
  /** Added to the scores, broadcast to (B, H, T, S): padding masks (−∞), ALiBi, T5's relative bias. */
  bias?: Tensor;
  /** One learned score a head that takes weight and gives nothing. Xiao et al. 2023 */
  sinks?: Tensor;
  /** scores ← c·tanh(scores/c). Gemma 2 */
  softcap?: number;
  dropout?: { p: number; seed: number };
}
export interface AttentionKernelOptions {
  scale: number;
  left: number;
  right: number;
  softcap: number;
  dropout: number;
  seed: number;
  bf16: boolean;
}

/**
 * y = softmax(scale·QKᵀ + bias) V, tile by tile, without a T×S buffer. Vaswani et al. 2017, eq. 1; Dao et al. 2022.
 * With P the weights, recomputed from the saved row sums:  dV = Pᵀ dY,  dP = dY Vᵀ,  dS = P ∘ (dP − rowsum(dY ∘ Y)),  dQ = scale·dS K,  dK = scale·dSᵀ Q
 */
export const attentionOp = op<AttentionKernelOptions>({
  outputs: ([q, k, v, bias, sinks]) => {
    const { B, H, T, D } = q.dims('B H T D');
    const { G, S } = k.dims('B G S D', { B, D });
    const { E } = v.dims('B G S E', { B, G, S });
    check(
      H % G === 0,
      () => `attention: ${H} query heads cannot share ${G} key heads evenly\n  q ${show(q.shape)}\n  k ${show(k.shape)}`,
    );
    if (bias) {
      check(
        bias.shape.length === 4 && bias.shape.every((d, a) => d === 1 || d === [B, H, T, S][a]),
        () => `attention: bias ${show(bias.shape)} does not broadcast to (B, H, T, S) = ${show([B, H, T, S])}`,
      );
    }
    sinks?.dims('H', { H });
    return [{ shape: [B, H, T, E], strides: headStrides([B, H, T, E]) }, { shape: [B, H, T] }];
  },
  forward: ([q, k, v, bias, sinks], [y, lse], o) =>
    run('attention', [lastContiguous(q), lastContiguous(k), lastContiguous(v), spread(bias, q, k), sinks], [y, lse], o),
  saves: { inputs: true, outputs: true },
  backward: ({ dy, x: [q, k, v, bias, sinks], y: [y, lse], needs, options }) => {
    const [dq, dk, dv] = gradientsOf(q, k, v);
    const dbias = needs[3] ? Tensor.empty(bias.shape, 'f32', undefined, 'dattention') : undefined;
    const dsinks = needs[4] ? Tensor.empty(sinks.shape, 'f32', undefined, 'dattention') : undefined;
    run(
      'attentionBackward',
      [lastContiguous(dy), lastContiguous(q), lastContiguous(k), lastContiguous(v), spread(bias, q, k), sinks, y, lse],
      [dq, dk, dv, dbias, dsinks],
      options,
    );
    return [dq, dk, dv, dbias, dsinks];
  },
});
/** Memory for the gradients. Where q, k and v stand side by side in each row, as one projection makes them, so do these, and splitting has nothing to undo. */
function gradientsOf(...x: Tensor[]): Tensor[] {
  const [{ shape, strides, storage }] = x;
  const [B, , T, D] = shape;
  const row = strides[2];
  let at = 0;
  const sideBySide = x.every((t) => {
    const here = t.storage === storage && t.offset === at && t.shape[2] === T && t.shape[3] === D;
    at += t.shape[1] * D;
    return here && t.strides.every((s, a) => s === [T * row, D, row, 1][a]);
  });
  if (!sideBySide || at !== row) return x.map((t) => Tensor.empty(t.shape, 'f32', headStrides(t.shape), 'dattention'));
  const whole = Tensor.empty([B, T, row], 'f32', undefined, 'dattention');
  return x.map((t) => whole.window(t.shape, t.strides, t.offset, 'dattention'));
}
function spread(bias: Tensor | undefined, q: Tensor, k: Tensor) {
  if (!bias) return undefined;
  const shape = [q.shape[0], q.shape[1], q.shape[2], k.shape[2]];
  return {
    buffer: bias.buffer,
    offset: bias.offset,
    shape,
    strides: broadcastStrides(bias.shape, bias.strides, shape),
    dtype: bias.dtype,
  };
}

export interface LossOptions {
  /** Targets with this id do not count. */
  ignoreIndex?: number;
  /** ε: the target gets 1 − ε, the rest is spread evenly. Szegedy et al. 2016 */
  labelSmoothing?: number;
  /** Adds zLoss · lse²: keeps the logits from drifting. Chowdhery et al. 2022 */
  zLoss?: number;
}
export type LossKernelOptions = Required<LossOptions>;
/** The target that no loss counts; PyTorch's choice. */
export const IGNORE_INDEX = -100;
const lossDefaults = ({ ignoreIndex = IGNORE_INDEX, labelSmoothing = 0, zLoss = 0 }: LossOptions): LossKernelOptions => ({
  ignoreIndex,
  labelSmoothing,
  zLoss,
});

/** loss = mean over the counted rows of (lse − logit of the target),  dlogits = (softmax − onehot) · dloss / n */
export const crossEntropyOp = op<LossKernelOptions>({
  outputs: ([logits]) => [{ shape: [1] }, { shape: [rowCount(logits.shape)] }],
  forward: ([logits, targets], [loss, lse], o) => run('crossEntropy', [rows(logits), targets], [loss, lse], o),
  saves: { inputs: true, outputs: true },
  backward: ({ dy, x: [logits, targets], y: [, lse], options, room }) => {
    const dlogits = room(0);
    run('crossEntropyBackward', [dy, rows(logits), targets, lse], [rows(dlogits)], options);
    return [dlogits, undefined];
  },
});

/** crossEntropy(x Wᵀ + b, targets) in chunks of rows: the (R, V) logits never exist whole. The gradients come with the forward pass and are scaled by dloss. */
export const linearCrossEntropyOp = op<LossKernelOptions & { bf16: boolean; wants: readonly boolean[] }>({
  outputs: ([x, w, b], { wants }) => {
    const C = x.shape.at(-1)!;
    check(
      w.shape.length === 2 && w.shape[1] === C,
      () => `linearCrossEntropy: the weight must be (V, ${C}) for an input ${show(x.shape)}, but is ${show(w.shape)}`,
    );
    const none = [0];
    return [
      { shape: [1] },
      { shape: wants[0] ? x.shape : none },
      { shape: wants[1] ? w.shape : none },
      { shape: wants[2] ? b.shape : none },
    ];
  },
  forward: ([x, w, b, targets], [loss, dx, dw, db], { wants, ...o }) =>
    run(
      'linearCrossEntropy',
      [rows(x), lastContiguous(w), b, targets],
      [loss, wants[0] ? rows(dx) : undefined, wants[1] ? dw : undefined, wants[2] ? db : undefined],
      o,
    ),
  saves: { outputs: true },
  backward: ({ dy, y: [, dx, dw, db], options: { wants } }) =>
    [dx, dw, db].map((g, i) => {
      if (!wants[i]) return undefined;
      run('binary', [g, broadcast(dy, g.shape)], [g], { f: 'mul' }); // in place: the tape alone holds them
      return g;
    }),
});

function targetsTensor(name: string, targets: ArrayLike<number>, R: number, V: number, ignoreIndex: number): Tensor {
  check(targets.length === R, () => `${name}: ${targets.length} targets for ${R} rows`);
  const ids = targets instanceof Int32Array ? targets : Int32Array.from(targets);
  for (let i = 0; i < R; i++)
    if (ids[i] !== ignoreIndex && !(ids[i] >= 0 && ids[i] < V)) checkIds(`${name}: target`, ids.subarray(i, i + 1), V);
  return Tensor.from(ids, [R], 'i32');
}

export const layerNorm = (x: Tensor, w: Tensor, b?: Tensor, eps = 1e-5): Tensor =>
  first(apply('layerNorm', layerNormOp, [x, w, b], { eps }));
export const rmsNorm = (x: Tensor, w: Tensor, eps = 1e-6, offset = 0): Tensor =>
  first(apply('rmsNorm', rmsNormOp, [x, w], { eps, offset }));
export const swiglu = (gate: Tensor, up: Tensor): Tensor => apply('swiglu', swigluOp, [gate, up], undefined)[0];
export const rope = (x: Tensor, cos: Tensor, sin: Tensor, { interleaved = false } = {}): Tensor =>
  apply('rope', ropeOp, [x, cos, sin], { interleaved, inverse: false })[0];

/** The fused core. q (B, H, T, D), k (B, G, S, D), v (B, G, S, E) → (B, H, T, E), with the log-sum of each row's exponentials (B, H, T). */
export function fusedAttention(q: Tensor, k: Tensor, v: Tensor, o: AttentionOptions = {}): { y: Tensor; lse: Tensor } {
  const [y, lse] = apply('attention', attentionOp, [q, k, v, o.bias, o.sinks], {
    scale: o.scale ?? 1 / Math.sqrt(q.shape.at(-1)!),
    left: o.window === undefined ? -1 : o.window,
    right: o.causal ? 0 : -1,
    softcap: o.softcap ?? 0,
    dropout: o.dropout?.p ?? 0,
    seed: o.dropout?.seed ?? 0,
    bf16: precision() === 'bf16',
  });
  return { y, lse };
}

/** Mean of −log p(target) in nats over rows of logits (…, V); targets equal to `ignoreIndex` (−100) do not count. */
export function crossEntropy(logits: Tensor, targets: ArrayLike<number>, options: LossOptions = {}): Tensor {
  const o = lossDefaults(options);
  const t = targetsTensor('crossEntropy', targets, rowCount(logits.shape), logits.shape.at(-1)!, o.ignoreIndex);
  const loss = first(apply('crossEntropy', crossEntropyOp, [logits, t], o)).reshape([]);
  t.free();
  return loss;
}

/** crossEntropy(linear(x, w, b), targets) without the logits in memory (except for a quantised weight, which is never trained). */
export function linearCrossEntropy(
  x: Tensor,
  w: Tensor | QuantisedWeight,
  targets: ArrayLike<number>,
  options: LossOptions & { bias?: Tensor } = {},
): Tensor {
  const { bias, ...rest } = options;
  if (w instanceof QuantisedWeight) return tidy(() => crossEntropy(w.linear(x, bias), targets, rest), 'linearCrossEntropy');
  const o = lossDefaults(rest);
  const t = targetsTensor('linearCrossEntropy', targets, rowCount(x.shape), w.shape[0], o.ignoreIndex);
  const recording = isTaping();
  const wants = [x, w, bias].map((p) => recording && p?.requiresGrad === true);
  const loss = first(
    apply('linearCrossEntropy', linearCrossEntropyOp, [x, w, bias, t], { ...o, bf16: precision() === 'bf16', wants }),
  ).reshape([]);
  t.free();
  return loss;
}

/** The first output; the others were made for the derivative, which keeps its own hold on them. */
function first(outputs: Tensor[]): Tensor {
  for (const t of outputs.slice(1)) t.free();
  return outputs[0];
}
