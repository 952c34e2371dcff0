import { normal, uniform } from '../../random.ts';
import type { BinaryFn, Kernels, UnaryFn } from '../backend.ts';
import { erf, gaussianCdf, gaussianPdf } from './erf.ts';
import { sizeOf, type Memory, type Numbers } from './view.ts';

export const elementwise = (
  memory: Memory,
): Pick<
  Kernels,
  | 'copy'
  | 'fill'
  | 'random'
  | 'arange'
  | 'unary'
  | 'unaryBackward'
  | 'binary'
  | 'affine'
  | 'where'
  | 'dropout'
  | 'swiglu'
  | 'swigluBackward'
> => ({
  copy([x], [y], { accumulate }) {
    const values = memory.load(x!);
    memory.store(y!, accumulate ? combine(values, memory.load(y!), (a, b) => a + b) : values.slice()); // x and y may overlap
  },
  fill(_, [y], { value }) {
    memory.store(y!, new Float64Array(sizeOf(y!.shape)).fill(value));
  },
  random(_, [y], { kind, seed, scale, shift }) {
    const draw = kind === 'uniform' ? uniform : normal;
    memory.store(
      y!,
      make(y!.shape, (i) => draw(seed, i) * scale + shift),
    );
  },
  arange(_, [y], { start, step }) {
    memory.store(
      y!,
      make(y!.shape, (i) => start + i * step),
    );
  },

  unary([x], [y], { f }) {
    memory.store(y!, map(memory.load(x!), unaryTable[f]));
  },
  unaryBackward([dy, x], [dx], { f }) {
    const slope = derivativeTable[f];
    memory.store(
      dx!,
      combine(memory.load(dy!), memory.load(x!), (g, v) => g * slope(v)),
    );
  },
  binary([a, b], [y], { f }) {
    memory.store(y!, combine(memory.load(a!), memory.load(b!), binaryTable[f]));
  },
  affine([x], [y], { scale, shift }) {
    memory.store(
      y!,
      map(memory.load(x!), (v) => scale * v + shift),
    );
  },
  where([condition, a, b], [y]) {
    const c = memory.load(condition!);
    const ifTrue = memory.load(a!);
    const ifFalse = memory.load(b!);
    memory.store(
      y!,
      make(y!.shape, (i) => (c[i] !== 0 ? ifTrue[i] : ifFalse[i])),
    );
  },
  dropout([x], [y], { p, seed }) {
    const values = memory.load(x!);
    memory.store(
      y!,
      make(y!.shape, (i) => (uniform(seed, i) >= p ? values[i] / (1 - p) : 0)),
    );
  },

  swiglu([gate, up], [y]) {
    memory.store(
      y!,
      combine(memory.load(gate!), memory.load(up!), (g, u) => silu(g) * u),
    );
  },
  swigluBackward([dy, gate, up], [dgate, dup]) {
    const d = memory.load(dy!);
    const g = memory.load(gate!);
    const u = memory.load(up!);
    const dg = make(gate!.shape, (i) => d[i] * u[i] * siluSlope(g[i]));
    const du = make(up!.shape, (i) => d[i] * silu(g[i]));
    memory.store(dgate!, dg);
    memory.store(dup!, du);
  },
});

function make(shape: readonly number[], element: (i: number) => number): Float64Array {
  const out = new Float64Array(sizeOf(shape));
  for (let i = 0; i < out.length; i++) out[i] = element(i);
  return out;
}

function map(x: Numbers, f: (x: number) => number): Float64Array {
  const out = new Float64Array(x.length);
  for (let i = 0; i < out.length; i++) out[i] = f(x[i]);
  return out;
}

function combine(a: Numbers, b: Numbers, f: (a: number, b: number) => number): Float64Array {
  const out = new Float64Array(a.length);
  for (let i = 0; i < out.length; i++) out[i] = f(a[i], b[i]);
  return out;
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
const silu = (x: number): number => x * sigmoid(x);
const siluSlope = (x: number): number => {
  const s = sigmoid(x);
  return s * (1 + x * (1 - s));
};

/** GELU's published approximation: x/2 · (1 + tanh(√(2/π)·(x + 0.044715 x³))).  Hendrycks & Gimpel 2016. */
const cubic = 0.044715;
const root = Math.sqrt(2 / Math.PI);
const geluTanh = (x: number): number => 0.5 * x * (1 + Math.tanh(root * (x + cubic * x * x * x)));
const geluTanhSlope = (x: number): number => {
  const t = Math.tanh(root * (x + cubic * x * x * x));
  return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * root * (1 + 3 * cubic * x * x);
};

const unaryTable: Record<UnaryFn, (x: number) => number> = {
  neg: (x) => -x,
  abs: Math.abs,
  exp: Math.exp,
  log: Math.log,
  sqrt: Math.sqrt,
  rsqrt: (x) => 1 / Math.sqrt(x),
  square: (x) => x * x,
  recip: (x) => 1 / x,
  sin: Math.sin,
  cos: Math.cos,
  tanh: Math.tanh,
  sigmoid,
  relu: (x) => Math.max(x, 0), // NaN stays NaN
  silu,
  gelu: (x) => x * gaussianCdf(x),
  geluTanh,
  erf,
  sign: Math.sign,
  floor: Math.floor,
};

const derivativeTable: Record<UnaryFn, (x: number) => number> = {
  neg: () => -1,
  abs: Math.sign,
  exp: Math.exp,
  log: (x) => 1 / x,
  sqrt: (x) => 0.5 / Math.sqrt(x),
  rsqrt: (x) => -0.5 / (x * Math.sqrt(x)),
  square: (x) => 2 * x,
  recip: (x) => -1 / (x * x),
  sin: Math.cos,
  cos: (x) => -Math.sin(x),
  tanh: (x) => 1 - Math.tanh(x) ** 2,
  sigmoid: (x) => sigmoid(x) * (1 - sigmoid(x)),
  relu: (x) => (x > 0 ? 1 : 0),
  silu: siluSlope,
  gelu: (x) => gaussianCdf(x) + x * gaussianPdf(x),
  geluTanh: geluTanhSlope,
  erf: (x) => (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x),
  sign: () => 0,
  floor: () => 0,
};

const binaryTable: Record<BinaryFn, (a: number, b: number) => number> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  pow: (a, b) => a ** b,
  max: Math.max, // NaN if either is
  min: Math.min,
  eq: (a, b) => (a === b ? 1 : 0),
  ne: (a, b) => (a !== b ? 1 : 0),
  lt: (a, b) => (a < b ? 1 : 0),
  le: (a, b) => (a <= b ? 1 : 0),
  gt: (a, b) => (a > b ? 1 : 0),
  ge: (a, b) => (a >= b ? 1 : 0),
};
