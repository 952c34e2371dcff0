// What is tried on every kernel, and how far a backend may be from the reference. A kernel without a line here does not compile.
//
// Tolerances. u = 2⁻²⁴ is half a unit in the last place of f32. A result may differ by abs + rel·|expected|: `rel` for results of a few roundings,
// `abs` where terms of a known size cancel. Sums of n terms of size a get n·a·u: one rounding a term, none of them lucky; and n·u relatively, for
// terms that are all the same (a repeated axis) and do not cancel.

import {
  binaryFns,
  reduceFns,
  unaryFns,
  type KernelName,
  type KernelOptions,
  type UnaryFn,
} from '../../src/tensor/backends/backend.ts';
import { attention as referenceAttention } from '../../src/tensor/backends/reference/attention.ts';
import { Memory, sizeOf } from '../../src/tensor/backends/reference/view.ts';
import { type Bits, BLOCK, GROUP, groupLayout, quantiseRows } from '../../src/tensor/quantised-rows.ts';
import type { Draw, Layout } from './draw.ts';
import { numbers, type Operand, type Problem, put } from './operand.ts';

export interface Tolerance {
  abs: number;
  rel: number;
}

export interface Case<N extends KernelName = KernelName> extends Problem {
  options: KernelOptions[N];
  /** One for all outputs, or one for each. */
  tolerance: Tolerance | readonly Tolerance[];
  /** Inputs that the kernel changes; they are compared after the outputs. */
  updates?: readonly Operand[];
}

const u = 2 ** -24;
const exact: Tolerance = { abs: 0, rel: 0 };
/** Below this a kernel may flush to zero. */
const tiny = 2 ** -126;

const anyFloat = ['f32', 'f32', 'bf16', 'f16'] as const;
const anyType = ['f32', 'bf16', 'f16', 'i32', 'u8'] as const;
const strided: Layout = 'strided';
const rows: Layout = 'rows';

/** Inputs of an elementwise kernel and its output; now and then the output is the first input itself. */
function elementwise(draw: Draw, shape: readonly number[], ...values: (() => number)[]): Pick<Case, 'inputs' | 'outputs'> {
  const inPlace = draw.chance(0.1);
  const inputs = values.map((value, i) => draw.input(shape, { layout: inPlace && i === 0 ? 'contiguous' : strided, value }));
  return { inputs, outputs: [inPlace ? inputs[0] : draw.output(shape)] };
}

/** An input of `shape` and the output for its gradient; now and then the gradient is written over it. */
function withGradient(draw: Draw, shape: readonly number[], value?: () => number): [x: Operand, dx: Operand] {
  const over = draw.chance(0.2);
  const x = draw.input(shape, { layout: over ? 'contiguous' : rows, value });
  return [x, over ? x : draw.output(shape)];
}

export const cases: { readonly [N in KernelName]: (draw: Draw) => Case<N> } = {
  // ---- element by element

  copy(draw) {
    const shape = draw.shape(draw.int(0, 5), 2000);
    const accumulate = draw.chance(0.2);
    const from = accumulate ? 'f32' : draw.pick(...anyType);
    const to = accumulate ? 'f32' : draw.pick(...anyType);
    const half = to === 'bf16' || to === 'f16';
    // A whole number beyond 2²⁴ would be rounded twice on its way to 16 bits by way of f32.
    const scale = from === 'u8' ? 40 : from === 'i32' ? (half ? 2 ** 20 : 2 ** 28) : draw.pick(1, 1, 100, 1e-6, 1e5, 1e10, 1e-40);
    const value = () => {
      const x = draw.value({ scale, bad: from === 'i32' || from === 'u8' ? 0 : 0.02 });
      if (from === 'i32') return Math.max(Math.min(Math.round(x), half ? 2 ** 24 : 2 ** 31 - 1), half ? -(2 ** 24) : -(2 ** 31));
      if (from === 'u8') return Math.min(Math.abs(Math.round(x)), 255);
      return draw.chance(0.1) && Math.abs(x) < 1e6 ? Math.round(x) + 0.5 : x;
    };
    const before = () => draw.normal();
    return {
      inputs: [draw.input(shape, { dtype: from, layout: strided, value })],
      outputs: [draw.output(shape, { dtype: to, layout: strided, value: accumulate ? before : undefined })],
      options: { accumulate },
      tolerance: exact, // one correctly rounded conversion or sum
    };
  },

  fill(draw) {
    const dtype = draw.pick(...anyType);
    const whole = dtype === 'i32' || dtype === 'u8';
    return {
      inputs: [],
      outputs: [draw.output(draw.shape(draw.int(0, 5), 3000), { dtype, layout: strided })],
      options: { value: whole ? draw.int(0, 255) : draw.pick(0, 1, -1, Math.fround(draw.normal()), -Infinity, NaN) },
      tolerance: exact,
    };
  },

  random(draw) {
    const kind = draw.pick('uniform', 'normal');
    const [scale, shift] = draw.pick([1, 0], [0.02, 0], [2, -1], [draw.normal(), draw.normal()]);
    const raw = kind === 'uniform' && scale === 1 && shift === 0;
    return {
      inputs: [],
      outputs: [draw.output(draw.shape(draw.int(1, 4), 2000))],
      options: { kind, seed: draw.pick(0, 1, draw.seed()), scale, shift },
      // Uniform draws are exact. Normal ones are at most 5.8: 20 u·5.8 for √, log and cos in f32.
      tolerance: raw
        ? exact
        : {
            abs:
              kind === 'uniform' ? 2 * u * (Math.abs(scale) + Math.abs(shift)) : 8e-6 * Math.abs(scale) + 2 * u * Math.abs(shift),
            rel: 0,
          },
    };
  },

  arange(draw) {
    const dtype = draw.pick('i32', 'f32');
    const whole = dtype === 'i32';
    const n = draw.pick(draw.count(300), 1000);
    const start = whole ? draw.int(-1000, 1000) : Math.fround(draw.normal() * 10);
    const step = whole ? draw.int(-3, 3) : Math.fround(draw.normal());
    return {
      inputs: [],
      outputs: [draw.output([n], { dtype })],
      options: { start, step },
      tolerance: whole ? exact : { abs: 4 * u * (Math.abs(start) + n * Math.abs(step)), rel: 0 },
    };
  },

  unary(draw) {
    const f = draw.pick(...unaryFns);
    const shape = draw.shape(draw.int(0, 5), 2000);
    const special = draw.chance(0.3) ? 0.03 : 0;
    const domain = draw.pick(1, 1, 10, 40);
    const value = () => {
      const x = draw.value({ scale: domain, bad: special });
      return positive.has(f) && !draw.chance(special) ? Math.abs(x) + (f === 'recip' ? 0.01 : 0) : x;
    };
    return {
      ...elementwise(draw, shape, value),
      options: { f },
      tolerance: unaryTolerance[f],
    };
  },

  unaryBackward(draw) {
    const f = draw.pick(...unaryFns);
    const shape = draw.shape(draw.int(0, 5), 2000);
    const domain = draw.pick(1, 1, 5, 20);
    const value = () => {
      const x = draw.value({ scale: domain });
      if (positive.has(f)) return Math.abs(x) + 0.05;
      return f === 'recip' && Math.abs(x) < 0.05 ? 0.05 : x;
    };
    return {
      ...elementwise(draw, shape, () => draw.normal(), value),
      options: { f },
      // dy·f′: |dy| < 5.8, and f′ of the gates is a sum of terms near 1 times x, which may cancel
      tolerance: { abs: 4e-6 * (f === 'gelu' || f === 'geluTanh' || f === 'silu' ? Math.max(1, domain) : 1), rel: 3e-6 },
    };
  },

  binary(draw) {
    const f = draw.pick(...binaryFns);
    const shape = draw.shape(draw.int(0, 5), 2000);
    const bad = draw.chance(0.2) && f !== 'pow' ? 0.05 : 0;
    const ties = draw.chance(0.3); // whole numbers, so that comparisons meet equals
    const ordinary = () => (ties && !draw.chance(bad) ? draw.int(-3, 3) : draw.value({ scale: 3, bad }));
    const wholePower = draw.chance(0.5);
    const base = () => (wholePower ? draw.normal() * 2 : Math.abs(draw.normal()) + 1e-3);
    const power = () => (wholePower ? draw.int(-3, 5) : draw.normal() * 2);
    return {
      ...elementwise(draw, shape, f === 'pow' ? base : ordinary, f === 'pow' ? power : ordinary),
      options: { f },
      tolerance: f === 'pow' ? { abs: tiny, rel: 1e-5 } : f === 'div' ? { abs: tiny, rel: 4 * u } : exact, // aᵇ = e^(b·ln a): |b·ln a| ≲ 40 amplifies u
    };
  },

  affine(draw) {
    const shape = draw.shape(draw.int(0, 5), 2000);
    const scale = draw.pick(0, 1, -1, draw.normal() * 10);
    const shift = draw.pick(0, 1, draw.normal() * 10);
    return {
      ...elementwise(draw, shape, () => draw.value()),
      options: { scale, shift },
      tolerance: { abs: 4 * u * (6 * Math.abs(scale) + Math.abs(shift)), rel: 0 },
    };
  },

  where(draw) {
    const shape = draw.shape(draw.int(0, 5), 2000);
    const dtype = draw.pick('u8', 'i32', 'f32');
    const bad = draw.pick(0, 0.05);
    const number = () => draw.value({ bad });
    return {
      inputs: [
        draw.input(shape, {
          dtype,
          layout: strided,
          value: () => (draw.chance(0.5) ? 0 : dtype === 'u8' ? draw.int(1, 255) : draw.pick(1, -1, 256)),
        }),
        draw.input(shape, { layout: strided, value: number }),
        draw.input(shape, { layout: strided, value: number }),
      ],
      outputs: [draw.output(shape)],
      options: {},
      tolerance: exact,
    };
  },

  dropout(draw) {
    const shape = draw.shape(draw.int(1, 4), 2000);
    return {
      ...elementwise(draw, shape, () => draw.normal()),
      options: { p: draw.pick(0, 0.1, 0.5, 0.9), seed: draw.seed() },
      tolerance: { abs: 0, rel: 4 * u },
    };
  },

  // ---- rows and reductions

  reduce(draw) {
    const f = draw.pick(...reduceFns);
    const shape = draw.shape(draw.int(1, 5), 3000, { empty: 0.08 });
    const axes = draw.int(1, 2 ** shape.length - 1);
    const isReduced = (a: number) => ((axes >> a) & 1) === 1;
    const n = sizeOf(shape.filter((_, a) => isReduced(a)));
    const scale = draw.pick(1, 1, 30);
    const bad = draw.chance(0.2) ? 0.02 : 0;
    return {
      inputs: [draw.input(shape, { layout: strided, value: () => draw.value({ scale, bad }) })],
      outputs: [draw.output(shape.map((size, a) => (isReduced(a) ? 1 : size)))],
      options: { f, axes },
      tolerance: {
        sum: { abs: n * scale * u, rel: 32 * u },
        mean: { abs: scale * u * Math.min(n, 50), rel: 32 * u },
        max: exact,
        min: exact,
        logsumexp: { abs: 1e-6 + 4 * scale * u, rel: 4 * u },
      }[f],
    };
  },

  argmax(draw) {
    const shape = [...draw.shape(draw.int(0, 3), 60), draw.size(300)];
    const ties = draw.chance(0.5);
    return {
      inputs: [
        draw.input(shape, {
          layout: rows,
          value: () => (draw.chance(0.02) ? -Infinity : ties ? draw.int(-2, 2) : draw.normal()),
        }),
      ],
      outputs: [draw.output([...shape.slice(0, -1), 1], { dtype: 'i32' })],
      options: {},
      tolerance: exact,
    };
  },

  topK(draw) {
    const C = draw.size(300);
    const k = draw.pick(1, Math.min(C, 2), Math.min(C, 5), Math.min(C, 50), C);
    const batch = draw.shape(draw.int(0, 3), 30);
    const ties = draw.chance(0.5);
    return {
      inputs: [
        draw.input([...batch, C], {
          layout: rows,
          value: () => (draw.chance(0.02) ? -Infinity : ties ? draw.int(-5, 5) : draw.normal()),
        }),
      ],
      outputs: [draw.output([...batch, k]), draw.output([...batch, k], { dtype: 'i32' })],
      options: { k },
      tolerance: exact,
    };
  },

  softmax(draw) {
    const x = scores(draw);
    return { inputs: [x], outputs: [draw.output(x.shape)], options: {}, tolerance: { abs: 2e-7, rel: 1e-5 } }; // e^(x − max): u·|x| ≤ 100 u in the exponent
  },

  softmaxBackward(draw) {
    const shape = rowShape(draw);
    const C = shape.at(-1)!;
    return {
      inputs: [
        draw.input(shape, { layout: rows }),
        draw.input(shape, { layout: rows, value: () => draw.uniform(0, 2 / Math.max(C, 1)) }),
      ],
      outputs: [draw.output(shape)],
      options: {},
      tolerance: { abs: 2e-6, rel: 1e-5 }, // Σ dy·y: terms of size 6·2/C, C of them
    };
  },

  logSoftmax(draw) {
    const x = scores(draw);
    return { inputs: [x], outputs: [draw.output(x.shape)], options: {}, tolerance: { abs: 2e-6 + 200 * u, rel: 1e-6 } };
  },

  logSoftmaxBackward(draw) {
    const shape = rowShape(draw);
    const C = shape.at(-1)!;
    return {
      inputs: [
        draw.input(shape, { layout: rows }),
        draw.input(shape, { layout: rows, value: () => -Math.abs(draw.normal()) * 3 }),
      ],
      outputs: [draw.output(shape)],
      options: {},
      tolerance: { abs: 1e-6 + 4 * C * u, rel: 1e-5 }, // e^y·Σ dy with e^y up to 1
    };
  },

  // ---- matmul

  matmul(draw) {
    const small = draw.chance(0.15); // one of the three is 0 or 1
    const most = draw.pick(20, 70, 140);
    let M = draw.size(most);
    let N = draw.size(most);
    let K = draw.size(most);
    if (small) [M, N, K] = draw.pick([1, N, K], [M, 1, K], [M, N, 1], [M, N, 0], [0, N, K], [M, 0, K]);
    const batch = draw.shape(draw.pick(0, 0, 1, 2, 3), most > 70 ? 2 : 8);
    const accumulate = draw.chance(0.25);
    const bf16 = draw.chance(0.25);
    return {
      inputs: [matrices(draw, batch, M, K), matrices(draw, batch, K, N), draw.chance(0.3) ? draw.input([N]) : undefined],
      outputs: [draw.output([...batch, M, N], { layout: rows, value: accumulate ? () => draw.normal() : undefined })],
      options: { accumulate, bf16 },
      tolerance: { abs: (2 * K + 16) * u, rel: (K + 4) * u }, // K roundings of a partial sum of size up to ~√K, or up to the result where axes repeat; bf16 inputs are the same numbers on both sides
    };
  },

  linearQuantised(draw) {
    const bits: Bits = draw.pick(16, 8, 4);
    const [R, N, K] = [draw.pick(0, 1, 1, 2, draw.int(3, 8), draw.int(9, 20)), draw.size(70), BLOCK * draw.int(1, 12)];
    const bad = draw.chance(0.05) ? 0.002 : 0;
    const scale = draw.pick(1, 1, 1e-3, 30);
    return {
      inputs: [
        draw.input([R, K], { layout: rows, value: () => draw.value({ scale, bad }) }),
        quantisedRows(draw, N, K, bits),
        draw.chance(0.5) ? draw.input([N]) : undefined,
      ],
      outputs: [draw.output([R, N], { layout: rows })],
      options: { bits },
      // Sums within a block are exact; then K/32 terms of a size up to 30·|x| (4 bits: codes are kept 8 too large, and the excess is taken off) are rounded twice each.
      tolerance: { abs: 8 * Math.max(1, scale) * K * u, rel: 64 * u },
    };
  },

  gatherQuantised(draw) {
    const bits: Bits = draw.pick(16, 8, 4);
    const [V, K, R] = [draw.int(1, 60), BLOCK * draw.int(1, 5), draw.count(40)];
    return {
      inputs: [quantisedRows(draw, V, K, bits), ids(draw, R, V)],
      outputs: [draw.output([R, K], { layout: rows })],
      options: { bits },
      tolerance: exact, // a whole number below 2⁷ times a bf16
    };
  },

  // ---- rows by index

  gather(draw) {
    const [V, C, R] = [draw.size(130), draw.size(130), draw.count(40)];
    return {
      inputs: [draw.input([V, C], { dtype: draw.pick(...anyFloat), layout: rows }), ids(draw, R, V)],
      outputs: [draw.output([R, C])],
      options: {},
      tolerance: exact,
    };
  },

  scatterAdd(draw) {
    const [V, C, R] = [draw.size(60), draw.size(130), draw.count(64)];
    const accumulate = draw.chance(0.4);
    return {
      inputs: [draw.input([R, C], { layout: rows }), ids(draw, R, V)],
      outputs: [draw.output([V, C], { value: accumulate ? () => draw.normal() : undefined })],
      options: { accumulate },
      tolerance: { abs: 4 * (R + 1) * u, rel: (R + 1) * u },
    };
  },

  pick(draw) {
    const [R, C] = [draw.count(64), draw.size(130)];
    return {
      inputs: [draw.input([R, C], { layout: rows }), ids(draw, R, C)],
      outputs: [draw.output([R])],
      options: {},
      tolerance: exact,
    };
  },

  pickBackward(draw) {
    const [R, C] = [draw.count(64), draw.size(130)];
    return { inputs: [draw.input([R]), ids(draw, R, C)], outputs: [draw.output([R, C])], options: {}, tolerance: exact };
  },

  // ---- norms: the numbers of a row are near 0, or far from it compared with their spread

  layerNorm(draw) {
    const [R, C] = [draw.count(draw.pick(33, 33, 131)), draw.size(300)];
    const centre = draw.pick(0, 0, 3, -20);
    const eps = draw.pick(1e-5, 1e-5, 1e-12, 0.1);
    const x = draw.input([R, C], { layout: rows, value: () => centre + draw.normal() });
    const worst = Math.max(...rstds(numbers(x), R, C, eps), 1);
    return {
      inputs: [x, draw.input([C]), draw.chance(0.7) ? draw.input([C]) : undefined],
      outputs: [draw.output([R, C]), draw.output([R]), draw.output([R])],
      options: { eps },
      // x − mean is off by a few u of the centre, and rstd multiplies that by as much as the largest rstd; weights are up to 5
      tolerance: [
        { abs: 40 * u * (Math.abs(centre) + 4) * worst, rel: 1e-5 * worst },
        { abs: 4 * u * (Math.abs(centre) + 4), rel: 4 * u },
        { abs: 0, rel: 10 * u * (Math.abs(centre) + 4) * worst },
      ],
    };
  },

  layerNormBackward(draw) {
    const [R, C] = [draw.count(draw.pick(33, 131)), draw.size(300)];
    const [x, dx] = withGradient(draw, [R, C]);
    return {
      inputs: [
        draw.input([R, C], { layout: rows }),
        x,
        draw.input([C]),
        draw.input([R]),
        draw.input([R], { value: () => draw.uniform(0.1, 2) }),
      ],
      outputs: [dx, draw.output([C]), draw.chance(0.7) ? draw.output([C]) : undefined],
      options: {},
      tolerance: [
        { abs: 2e-5, rel: 1e-5 },
        { abs: 8 * (R + 4) * u, rel: (R + 16) * u },
        { abs: 2 * (R + 4) * u, rel: (R + 16) * u },
      ],
    };
  },

  rmsNorm(draw) {
    const [R, C] = [draw.count(draw.pick(33, 131)), draw.size(300)];
    const scale = draw.pick(1, 1, 100, 1e-3, 0);
    return {
      inputs: [draw.input([R, C], { layout: rows, value: () => draw.normal() * scale }), draw.input([C])],
      outputs: [draw.output([R, C]), draw.output([R])],
      options: { eps: draw.pick(1e-5, 1e-6), offset: draw.pick(0, 1) },
      tolerance: [
        { abs: 2e-6, rel: 3e-6 },
        { abs: 0, rel: 2e-6 },
      ],
    };
  },

  rmsNormBackward(draw) {
    const [R, C] = [draw.count(draw.pick(33, 131)), draw.size(300)];
    const [x, dx] = withGradient(draw, [R, C]);
    return {
      inputs: [draw.input([R, C], { layout: rows }), x, draw.input([C]), draw.input([R], { value: () => draw.uniform(0.1, 2) })],
      outputs: [dx, draw.output([C])],
      options: { offset: draw.pick(0, 1) },
      tolerance: [
        { abs: 4e-5, rel: 1e-5 },
        { abs: 8 * (R + 4) * u, rel: (R + 16) * u },
      ],
    };
  },

  // ---- parts of a block

  swiglu(draw) {
    const shape = [draw.count(40), draw.size(140)];
    const scale = draw.pick(1, 1, 30);
    return {
      inputs: [draw.input(shape, { layout: rows, value: () => draw.normal() * scale }), draw.input(shape, { layout: rows })],
      outputs: [draw.output(shape)],
      options: {},
      tolerance: { abs: 2000 * tiny, rel: 5e-6 + 2 * scale * u }, // e^(−gate): u·|gate| in the exponent, and ∞ from −88.7 on
    };
  },

  swigluBackward(draw) {
    const [R, F] = [draw.count(40), draw.size(140)];
    const [gate, dgate] = withGradient(draw, [R, F], () => draw.normal() * 3);
    const [up, dup] = withGradient(draw, [R, F]);
    const gradients = (): Operand[] => {
      if (dgate === gate || dup === up || draw.chance(0.5)) return [dgate, dup];
      const whole = draw.output([R, 2 * F], { layout: rows }); // [dgate | dup], as one projection makes them
      const half = { ...whole, shape: [R, F] };
      return [half, { ...half, offset: whole.offset + F }];
    };
    return {
      inputs: [draw.input([R, F], { layout: rows }), gate, up],
      outputs: gradients(),
      options: {},
      tolerance: { abs: 1e-5, rel: 5e-6 }, // dy·up up to 30, times a slope of cancelling terms near 1
    };
  },

  rope(draw) {
    const [B, H] = [draw.int(1, 3), draw.int(1, 4)];
    const T = draw.pick(1, draw.size(33));
    const D = draw.pick(2, 3, 4, 6, 10, 16, 32, 34, 64);
    const P = draw.pick(Math.floor(D / 2), Math.floor(D / 2), draw.int(1, Math.floor(D / 2)));
    return {
      inputs: [draw.input([B, H, T, D], { layout: rows }), draw.input([T, P]), draw.input([T, P])],
      outputs: [draw.output([B, H, T, D], { layout: rows })],
      options: { interleaved: draw.chance(0.5), inverse: draw.chance(0.5) },
      tolerance: { abs: 60 * u, rel: 2 * u }, // two products of up to 25
    };
  },

  // ---- attention

  attention(draw) {
    const { inputs, options, hot, T, S, B, H, E } = attentionProblem(draw);
    const off = attentionError(hot, options.bf16, S, options.dropout);
    return {
      inputs,
      outputs: [draw.output([B, H, T, E], { layout: rows }), draw.output([B, H, T])],
      options,
      tolerance: [
        { abs: off, rel: off },
        { abs: options.bf16 ? 0.02 * hot : 4e-6 * hot, rel: options.bf16 ? 0.01 : 2e-6 },
      ],
    };
  },

  attentionBackward(draw) {
    const { inputs, options, hot, T, S, B, H, G, D, E } = attentionProblem(draw);
    const [, , , bias, sinks] = inputs;
    const y = draw.output([B, H, T, E], { layout: rows });
    const lse = draw.output([B, H, T]);
    forward({ inputs, outputs: [y, lse] }, options);
    const unbroadcast = bias?.shape.map((size, a) => (bias.strides[a] === 0 ? 1 : size));
    const off = attentionError(hot, options.bf16, S, options.dropout) * (4 + Math.sqrt((T * H) / G));
    const many = 6 * off * Math.sqrt(B * H * T);
    return {
      inputs: [draw.input([B, H, T, E], { layout: rows, repeats: draw.chance(0.2) }), ...inputs, y, lse],
      outputs: [
        draw.output([B, H, T, D], { layout: rows }),
        draw.output([B, G, S, D], { layout: rows }),
        draw.output([B, G, S, E], { layout: rows }),
        unbroadcast && draw.chance(0.7) ? draw.output(unbroadcast) : undefined,
        sinks && draw.chance(0.8) ? draw.output([H]) : undefined,
      ],
      options,
      // Each of dq, dk, dv is a sum over up to T·H/G or S weights with the forward's error; dbias and dsinks sum over whole axes
      tolerance: [
        { abs: off * hot, rel: off },
        { abs: off * hot, rel: off },
        { abs: off, rel: off },
        { abs: many, rel: off },
        { abs: many, rel: off },
      ],
    };
  },

  // ---- losses

  crossEntropy(draw) {
    const { logits, targets, options, R } = lossProblem(draw);
    return {
      inputs: [logits, targets],
      outputs: [draw.output([1]), draw.output([R])],
      options,
      tolerance: [
        { abs: 1e-5, rel: 3e-6 },
        { abs: 4e-6, rel: 1e-6 },
      ],
    };
  },

  crossEntropyBackward(draw) {
    const { logits, targets, options, R, V } = lossProblem(draw);
    const values = numbers(logits);
    const lse = draw.input([R], {
      value: (r) => {
        const row = values.subarray(r * V, (r + 1) * V);
        const m = Math.max(...row);
        return m + Math.log(row.reduce((sum, x) => sum + Math.exp(x - m), 0));
      },
    });
    const dloss = draw.pick(1, 1, -0.37, 128);
    return {
      inputs: [draw.input([1], { value: () => dloss }), logits, targets, lse],
      outputs: [logits.strides[1] === 1 && logits.strides[0] === V && draw.chance(0.5) ? logits : draw.output([R, V])],
      options,
      tolerance: { abs: (2e-6 * Math.abs(dloss) * (1 + 20 * options.zLoss)) / Math.max(R, 1) + tiny, rel: 1e-5 }, // (p − target)/count: p ≤ 1 off by |l|·u
    };
  },

  linearCrossEntropy(draw) {
    const [R, C, V] = [draw.count(33), draw.size(67), draw.pick(draw.size(67), draw.size(257))];
    const bf16 = draw.chance(0.25);
    const scale = 1 / Math.sqrt(C);
    const dtype = draw.pick(...anyFloat);
    const options = { ...lossOptions(draw), bf16 };
    const targets = targetIds(draw, R, V, options.ignoreIndex);
    const count = Math.max(numbers(targets).filter((t) => t !== options.ignoreIndex).length, 1);
    // Sums over V of gradient (Σ|d| ≤ 2) times a weight, and over rows of gradient times x; bf16 rounds the factors to 2⁻⁸
    const off = (bf16 ? 0.06 : 2e-5) * (1 + 20 * options.zLoss);
    return {
      inputs: [
        draw.input([R, C], { layout: rows }),
        draw.input([V, C], { layout: rows, dtype, value: () => 2 * scale * draw.normal() }),
        draw.chance(0.4) ? draw.input([V]) : undefined,
        targets,
      ],
      outputs: [
        draw.output([1]),
        draw.chance(0.8) ? draw.output([R, C]) : undefined,
        draw.chance(0.8) ? draw.output([V, C]) : undefined,
        draw.chance(0.6) ? draw.output([V]) : undefined,
      ],
      options,
      tolerance: [
        { abs: bf16 ? 0.02 : 1e-5, rel: bf16 ? 0.01 : 1e-5 },
        { abs: off / count, rel: off },
        { abs: off, rel: off },
        { abs: off, rel: off },
      ],
    };
  },

  // ---- optimizer

  globalNorm(draw) {
    const scale = draw.pick(1, 1e-3, 1e3, 1e12);
    const inputs = Array.from({ length: draw.int(1, 6) }, () =>
      draw.input(draw.shape(draw.int(1, 3), 3000), { value: () => draw.normal() * scale }),
    );
    return { inputs, outputs: [draw.output([1])], options: {}, tolerance: { abs: 0, rel: 1e-6 } };
  },

  adamW(draw) {
    const n = draw.int(1, 4);
    const decays = Array.from({ length: n }, () => draw.chance(0.5));
    const inputs: Operand[] = [];
    const updates: Operand[] = [];
    for (let group = 0; group < n; group++) {
      const shape = draw.shape(draw.int(1, 3), 1500);
      const [p, g, m] = [draw.input(shape), draw.input(shape), draw.input(shape)];
      const v = draw.input(shape, { value: () => draw.normal() ** 2 + 0.01 });
      inputs.push(p, g, m, v);
      updates.push(p, m, v);
    }
    const hasNorm = draw.chance(0.7);
    const norm = draw.pick(0, 0.5, 3, 100, 3, NaN, Infinity);
    if (hasNorm) inputs.push(draw.input([1], { value: () => norm }));
    const lr = draw.pick(1e-3, 3e-4, 0.1);
    const step = draw.pick(1, 2, 10, 1000, 100_000);
    return {
      inputs,
      outputs: [],
      updates,
      options: {
        lr,
        beta1: draw.pick(0.9, 0.9, 0),
        beta2: draw.pick(0.95, 0.99, 0.999),
        eps: draw.pick(1e-8, 1e-5),
        weightDecay: draw.pick(0, 0.1),
        step,
        clip: hasNorm ? draw.pick(0, 1) : 0,
        hasNorm,
        decays,
      },
      // The step is lr·m/c₁/√(v/c₂) ≤ lr·60, in ten roundings; moments are two products
      tolerance: { abs: 60 * lr * 20 * u + 8 * u, rel: 4 * u },
    };
  },
};

// ---- parts

const positive: ReadonlySet<UnaryFn> = new Set(['log', 'sqrt', 'rsqrt']);

const few = { abs: tiny, rel: 8 * u };
const unaryTolerance: Record<UnaryFn, Tolerance> = {
  neg: exact,
  abs: exact,
  exp: { abs: 2 * tiny, rel: 16 * u }, // results below 2⁻¹²⁶ may be 0
  log: { abs: 8 * u, rel: 8 * u },
  sqrt: few,
  rsqrt: few,
  square: few,
  recip: few,
  sin: { abs: 32 * u, rel: 0 }, // arguments up to 200: reduced by a π of 60 bits, not by Payne & Hanek
  cos: { abs: 32 * u, rel: 0 },
  tanh: { abs: 4 * u, rel: 16 * u },
  sigmoid: { abs: 2 * tiny, rel: 100 * u }, // 1/(1 + e^−x): x·log₂e rounded once is off by u·|x|, |x| ≤ 88
  relu: exact,
  silu: { abs: 300 * tiny, rel: 100 * u },
  gelu: { abs: 16 * u, rel: 16 * u }, // x·Φ(x): Φ is off by a few u of 1 where it is small
  geluTanh: { abs: 32 * u, rel: 16 * u },
  erf: { abs: 8 * u, rel: 8 * u },
  sign: exact,
  floor: exact,
};

const rowShape = (draw: Draw): number[] => [...draw.shape(draw.int(0, 3), 40), draw.count(300)];

/** Rows as softmax meets them: of any size, with −∞ for what is masked, whole rows of it, and a NaN. */
function scores(draw: Draw): Operand {
  const shape = rowShape(draw);
  const scale = draw.pick(1, 1, 10, 30);
  const masked = draw.pick(0, 0, 0.3);
  const x = draw.input(shape, { layout: rows, value: () => (draw.chance(masked) ? -Infinity : draw.normal() * scale) });
  const C = shape.at(-1)!;
  const special = draw.pick('none', 'none', 'none', 'NaN', '−∞ row');
  const values = numbers(x);
  const r = draw.int(0, 3);
  if (special === '−∞ row') put(x, (i) => (Math.floor(i / C) === r ? -Infinity : values[i]));
  if (special === 'NaN') put(x, (i) => (i === r * C ? NaN : values[i]));
  return x;
}

/** (…, M, K) of any float dtype: row-major, transposed, with gaps, repeated along batch axes, or with no unit stride at all. */
function matrices(draw: Draw, batch: readonly number[], rowCount: number, columns: number): Operand {
  const dtype = draw.pick(...anyFloat);
  const layout = draw.pick('contiguous', 'rows', 'rows', 'strided') as Layout;
  if (!draw.chance(0.4)) return draw.input([...batch, rowCount, columns], { dtype, layout });
  const t = draw.input([...batch, columns, rowCount], { dtype, layout });
  const n = batch.length;
  return { ...t, shape: [...batch, rowCount, columns], strides: [...t.strides.slice(0, n), t.strides[n + 1], t.strides[n]] };
}

/** N rows of K normal numbers as the bytes of tensor/quantised-rows.ts. */
function quantisedRows(draw: Draw, N: number, K: number, bits: Bits): Operand {
  const values = Float32Array.from({ length: N * K }, () => draw.value());
  const bytes = quantiseRows(values, K, bits);
  return draw.input([Math.ceil(N / GROUP), groupLayout(bits, K).bytes], { dtype: 'u8', value: (i) => bytes[i] });
}
const ids = (draw: Draw, n: number, below: number): Operand =>
  draw.input([n], { dtype: 'i32', value: () => draw.int(0, below - 1) });

function rstds(x: Float64Array, R: number, C: number, eps: number): number[] {
  return Array.from({ length: R }, (_, r) => {
    const row = x.subarray(r * C, (r + 1) * C);
    const mean = row.reduce((sum, v) => sum + v, 0) / C;
    return 1 / Math.sqrt(row.reduce((sum, v) => sum + (v - mean) ** 2, 0) / C + eps);
  });
}

function attentionProblem(draw: Draw) {
  const B = draw.int(1, 2);
  const [H, G] = draw.pick([1, 1], [2, 2], [2, 1], [4, 2], [6, 3], [3, 3], [5, 1]);
  const [D, E] = draw.pick(
    [1, 1],
    [2, 3],
    [5, 5],
    [8, 8],
    [16, 16],
    [17, 17],
    [32, 32],
    [33, 16],
    [64, 64],
    [80, 80],
    [128, 128],
  );
  const most = D > 64 ? 33 : draw.pick(9, 40, 131);
  const S = draw.pick(1, draw.size(most), draw.size(most));
  const T = draw.pick(1, S, S, draw.size(most));
  const hot = draw.pick(1, 1, 1, 8); // how far from the usual scale the scores are
  const options: KernelOptions['attention'] = {
    scale: (hot / Math.sqrt(D)) * draw.pick(1, -1, 0.3),
    left: draw.pick(-1, -1, -1, 0, 3, 17),
    right: draw.pick(0, 0, 0, -1, 2),
    softcap: draw.pick(0, 0, 0, 5),
    dropout: draw.pick(0, 0, 0, 0.25),
    seed: draw.seed(),
    bf16: draw.chance(0.15),
  };
  const biasKind = draw.pick('none', 'none', 'numbers', 'mask');
  const repeat = [draw.chance(0.6), draw.chance(0.5), draw.chance(0.2), draw.chance(0.1)];
  const bias = (): Operand => {
    const shape = [B, H, T, S];
    const compact = draw.input(
      shape.map((size, a) => (repeat[a] ? 1 : size)),
      { value: () => (biasKind === 'mask' && draw.chance(0.4) ? -Infinity : draw.normal()) },
    );
    return { ...compact, shape, strides: compact.strides.map((stride, a) => (repeat[a] ? 0 : stride)) };
  };
  const inputs = [
    draw.input([B, H, T, D], { layout: rows, repeats: false }),
    draw.input([B, G, S, D], { layout: rows }),
    draw.input([B, G, S, E], { layout: rows }),
    biasKind === 'none' ? undefined : bias(),
    draw.chance(0.2) ? draw.input([H]) : undefined,
  ];
  return { inputs, options, hot, B, H, G, T, S, D, E };
}

/** A weight is e^(score − lse): it is off by the error of a score (a dot product of size `hot`·5 in f32, or with factors rounded to 2⁻⁹ in bf16) relatively. */
const attentionError = (hot: number, bf16: boolean, S: number, dropout: number): number =>
  ((bf16 ? 0.03 * hot : 2e-6 * hot + Math.sqrt(S) * u) * 2) / (1 - dropout);

/** Fills the outputs of attention by the reference, for the backward to start from. */
function forward({ inputs, outputs }: Problem, options: KernelOptions['attention']): void {
  const memory = new Memory('f32', Number.POSITIVE_INFINITY);
  const viewOf = (operand: Operand | undefined) => {
    if (!operand) return undefined;
    const { block, offset, shape, strides } = operand;
    const view = {
      buffer: memory.alloc(block.data.byteLength),
      offset: 0,
      shape: [block.data.length],
      strides: [1],
      dtype: block.dtype,
    };
    memory.elements(view).set(block.data);
    return { ...view, offset, shape, strides };
  };
  const results = outputs.map(viewOf);
  referenceAttention(memory).attention(inputs.map(viewOf), results, options);
  outputs.forEach((operand, i) => {
    const values = memory.load(results[i]!);
    put(operand!, (at) => values[at]);
  });
}

function lossOptions(draw: Draw): KernelOptions['crossEntropy'] {
  return { ignoreIndex: draw.pick(-100, -1, 0), labelSmoothing: draw.pick(0, 0, 0.1), zLoss: draw.pick(0, 0, 1e-4, 0.1) };
}

const targetIds = (draw: Draw, R: number, V: number, ignoreIndex: number): Operand => {
  const ignored = draw.pick(0, 0.2, 0.2, 1);
  return draw.input([R], { dtype: 'i32', value: () => (draw.chance(ignored) ? ignoreIndex : draw.int(0, V - 1)) });
};

function lossProblem(draw: Draw) {
  const [R, V] = [draw.count(40), draw.size(300)];
  const options = lossOptions(draw);
  const targets = targetIds(draw, R, V, options.ignoreIndex);
  const chosen = numbers(targets);
  const scale = draw.pick(1, 3, 10);
  const forbidden = options.labelSmoothing === 0 ? draw.pick(0, 0, 0.1) : 0; // logits of −∞: not the target's, and the mean of a row must stay finite
  const logits = draw.input([R, V], {
    layout: rows,
    repeats: false,
    value: (i) => (i % V !== chosen[Math.floor(i / V)] && draw.chance(forbidden) ? -Infinity : draw.normal() * scale),
  });
  return { logits, targets, options, R, V };
}
