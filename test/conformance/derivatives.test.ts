// Every differentiable operation: its derivative against central differences in float64, through the Tensor API, on drawn shapes and strides.
//   (L(x + ε) − L(x − ε)) / 2ε with L = Σ w ∘ f(x), w random and ε = 1e-5: off by ε²·f‴/6 and by 1e-16·|L|/ε, so 1e-4 of the gradient is plenty.

import { describe, expect, test } from 'vitest';
import { type UnaryFn, unaryFns } from '../../src/tensor/backends/backend.ts';
import { createReference } from '../../src/tensor/backends/reference/index.ts';
import { memory, scope, Tensor, withBackend } from '../../src/tensor/index.ts';
import * as ops from '../../src/tensor/ops/index.ts';
import type { OpName } from '../../src/tensor/ops/index.ts';
import { Draw } from './draw.ts';

const reference64 = createReference({ precision: 'f64' });

/** y = f(x₀, x₁, …) and the shapes of the x that are differentiated. */
interface Trial {
  name?: string;
  shapes: readonly (readonly number[])[];
  f: (x: Tensor[]) => Tensor;
  /** Draws one number of x[i]; standard normal when left out. */
  value?: (i: number) => number;
  /** The step, where the function is a staircase. */
  step?: number;
}

const prime = (draw: Draw): number => draw.pick(1, 2, 3, 5, 7);
const primes = (draw: Draw, rank: number): number[] => Array.from({ length: rank }, () => prime(draw));
const anyShape = (draw: Draw): number[] => primes(draw, draw.int(1, 3));
/** The same shape with axes of 1, and with leading axes dropped: what broadcasts to it. */
const broadcastable = (draw: Draw, shape: readonly number[]): number[] =>
  shape.map((size) => (draw.chance(0.3) ? 1 : size)).slice(draw.chance(0.3) ? draw.int(0, shape.length) : 0);
/** Away from 0, where division and logarithms are steep. */
const positive = (draw: Draw) => () => Math.abs(draw.normal()) + 0.3;
/** Whole numbers plus ¼: no two of them are closer than ε, none is at a kink, unless it is equal. */
const apart = (draw: Draw) => () => draw.int(-9, 9) + draw.uniform(0.1, 0.9);
const idsBelow = (draw: Draw, n: number, below: number): Int32Array =>
  Int32Array.from({ length: n }, () => draw.int(0, below - 1));

function binary(f: (a: Tensor, b: Tensor) => Tensor, value?: (draw: Draw) => () => number): (draw: Draw) => Trial {
  return (draw) => {
    const shape = anyShape(draw);
    const other = broadcastable(draw, shape);
    return {
      shapes: draw.chance(0.5) ? [shape, other] : [other, shape],
      f: ([a, b]) => f(a, b),
      value: value?.(draw),
    };
  };
}

const unaryDomain: Partial<Record<UnaryFn, (draw: Draw) => () => number>> = {
  log: positive,
  sqrt: positive,
  rsqrt: positive,
  recip: positive,
  abs: apart,
  relu: apart,
  sign: apart,
  floor: apart,
};

/** An operation that is added to the table without a line here does not compile. */
const derivatives: { readonly [N in OpName]: (draw: Draw) => Trial | Trial[] } = {
  add: binary((a, b) => a.add(b)),
  sub: binary((a, b) => a.sub(b)),
  mul: binary((a, b) => a.mul(b)),
  div: binary((a, b) => a.div(b), positive),
  pow: binary((a, b) => a.pow(b), positive),
  maximum: binary((a, b) => a.maximum(b), apart),
  minimum: binary((a, b) => a.minimum(b), apart),
  affine: (draw) => {
    const scale = draw.pick(-3, 0.7);
    return { shapes: [anyShape(draw)], f: ([x]) => x.mul(scale).add(2) };
  },
  unary: (draw) =>
    unaryFns.map((f) => ({ name: f, shapes: [anyShape(draw)], f: ([x]) => ops.unary(f, x), value: unaryDomain[f]?.(draw) })),
  where: (draw) => {
    const shape = anyShape(draw);
    const condition = idsBelow(
      draw,
      shape.reduce((n, d) => n * d, 1),
      2,
    );
    return { shapes: [shape, broadcastable(draw, shape)], f: ([a, b]) => a.where(Tensor.from(condition, shape), b) };
  },
  dropout: (draw) => {
    const seed = draw.seed();
    return { shapes: [anyShape(draw)], f: ([x]) => x.dropout(0.4, seed) };
  },
  // Whole numbers and steps of 1 are exact in 16 bits: there the staircase is the straight line that the derivative takes it for.
  cast: (draw) => {
    const dtype = draw.pick('bf16', 'f16');
    return { shapes: [anyShape(draw)], f: ([x]) => x.cast(dtype).cast('f32').square(), value: () => draw.int(-9, 9), step: 1 };
  },

  reduce: (draw) =>
    (['max', 'min', 'logsumexp'] as const).map((f) => {
      const shape = primes(draw, 3);
      const axis = draw.pick<number | number[] | undefined>(0, 1, -1, [0, 2], [1, 2], undefined);
      const keepDims = draw.chance(0.5);
      return {
        name: f,
        shapes: [shape],
        f: ([x]) => x[f]({ axis, keepDims }),
        value: f === 'logsumexp' ? undefined : apart(draw),
      };
    }),
  linearReduce: (draw) =>
    (['sum', 'mean'] as const).map((f) => {
      const axis = draw.pick<number | number[] | undefined>(0, 1, -1, [0, 2], [1, 2], undefined);
      const keepDims = draw.chance(0.5);
      return { name: f, shapes: [primes(draw, 3)], f: ([x]) => x[f]({ axis, keepDims }) };
    }),
  softmax: (draw) => ({ shapes: [anyShape(draw)], f: ([x]) => x.softmax() }),
  logSoftmax: (draw) => ({ shapes: [anyShape(draw)], f: ([x]) => x.logSoftmax() }),

  matmul: (draw) => {
    const [M, N, K] = primes(draw, 3);
    const batch = primes(draw, draw.int(0, 2));
    const other = broadcastable(draw, batch);
    return {
      shapes: draw.chance(0.5)
        ? [
            [...batch, M, K],
            [...other, K, N],
          ]
        : [
            [...other, M, K],
            [...batch, K, N],
          ],
      f: ([a, b]) => a.matmul(b),
    };
  },
  linear: (draw) => {
    const [B, T, K, N] = primes(draw, 4);
    const bias = draw.chance(0.5);
    return {
      shapes: bias
        ? [[B, T, K], [N, K], [N]]
        : [
            [B, T, K],
            [N, K],
          ],
      f: ([x, w, b]) => ops.linear(x, w, b),
    };
  },

  split: (draw) => {
    const [A, B] = primes(draw, 2);
    const axis = draw.int(0, 1);
    const order = draw.pick([0, 1, 2], [2, 0, 1], [1, 1, 2]); // in the last the first part is not used
    return {
      shapes: [axis === 0 ? [3 * A, B] : [A, 3 * B]],
      f: ([x]) => {
        const parts = x.split(3, axis);
        return parts[order[0]].mul(parts[order[1]]).add(parts[order[2]].exp());
      },
    };
  },
  concat: (draw) => {
    const [A, B, C] = primes(draw, 3);
    const axis = draw.int(0, 1);
    return {
      shapes:
        axis === 0
          ? [
              [A, C],
              [B, C],
              [A, C],
            ]
          : [
              [C, A],
              [C, B],
              [C, A],
            ],
      f: (x) => ops.concat(x, axis).square(),
    };
  },
  pad: (draw) => {
    const axis = draw.int(0, 1);
    const [before, after] = [draw.int(0, 2), draw.int(0, 3)];
    return { shapes: [primes(draw, 2)], f: ([x]) => x.pad(axis, before, after, 0.5).square() };
  },
  contiguous: (draw) => ({ shapes: [primes(draw, 3)], f: ([x]) => x.permute([2, 0, 1]).contiguous().square() }),

  embedding: (draw) => {
    const [V, C, R] = primes(draw, 3);
    const ids = idsBelow(draw, 2 * R, V);
    return { shapes: [[V, C]], f: ([table]) => table.rows(ids, [2, R]).square() };
  },
  pick: (draw) => {
    const [A, B, C] = primes(draw, 3);
    const index = idsBelow(draw, A * B, C);
    return { shapes: [[A, B, C]], f: ([x]) => x.pick(Tensor.from(index, [A, B])).square() };
  },

  layerNorm: (draw) => {
    const [B, T, C] = [prime(draw), prime(draw), draw.pick(3, 5, 7)];
    const bias = draw.chance(0.6);
    return { shapes: bias ? [[B, T, C], [C], [C]] : [[B, T, C], [C]], f: ([x, w, b]) => ops.layerNorm(x, w, b, 0.1) };
  },
  rmsNorm: (draw) => {
    const [B, T, C] = primes(draw, 3);
    const offset = draw.int(0, 1);
    return { shapes: [[B, T, C], [C]], f: ([x, w]) => ops.rmsNorm(x, w, 0.1, offset) };
  },
  swiglu: (draw) => {
    const shape = primes(draw, 3);
    return { shapes: [shape, shape], f: ([gate, up]) => ops.swiglu(gate, up) };
  },
  rope: (draw) => {
    const [B, H, T] = primes(draw, 3);
    const D = draw.pick(2, 4, 6, 7);
    const P = draw.int(1, Math.floor(D / 2));
    const interleaved = draw.chance(0.5);
    const angles = Array.from({ length: T * P }, () => draw.uniform(0, 6));
    const table = (g: (x: number) => number) => Tensor.from(Float64Array.from(angles, g), [T, P]);
    return { shapes: [[B, H, T, D]], f: ([x]) => ops.rope(x, table(Math.cos), table(Math.sin), { interleaved }) };
  },
  attention: (draw) => {
    const B = draw.int(1, 2);
    const [H, G] = draw.pick([1, 1], [2, 2], [3, 1], [4, 2]);
    const [T, D, E] = [draw.pick(1, 2, 5, 7), draw.pick(1, 3, 4), draw.pick(1, 3, 5)];
    const S = draw.pick(T, T, T + 2, draw.pick(1, 3));
    const options = {
      scale: draw.pick(undefined, 0.4),
      causal: draw.chance(0.6),
      window: draw.pick(undefined, undefined, 0, 1, 3),
      softcap: draw.pick(undefined, undefined, 1.5),
      dropout: draw.pick(undefined, undefined, { p: 0.3, seed: draw.seed() }),
    };
    const hasBias = draw.chance(0.6);
    const hasSinks = draw.chance(0.4);
    const shapes = [
      [B, H, T, D],
      [B, G, S, D],
      [B, G, S, E],
    ];
    if (hasBias) shapes.push([B, H, T, S].map((size) => (draw.chance(0.4) ? 1 : size)));
    if (hasSinks) shapes.push([H]);
    return {
      name: `(B, H, G, T, S, D, E) = ${[B, H, G, T, S, D, E]} ${JSON.stringify(options)} bias ${hasBias} sinks ${hasSinks}`,
      shapes,
      f: ([q, k, v, ...more]) =>
        ops.fusedAttention(q, k, v, {
          ...options,
          bias: hasBias ? more[0] : undefined,
          sinks: hasSinks ? more.at(-1) : undefined,
        }).y,
    };
  },
  crossEntropy: (draw) => {
    const [B, T, V] = primes(draw, 3);
    const { targets, options } = labels(draw, B * T, V);
    return { shapes: [[B, T, V]], f: ([logits]) => ops.crossEntropy(logits, targets, options) };
  },
  linearCrossEntropy: (draw) => {
    const [B, T, C, V] = primes(draw, 4);
    const { targets, options } = labels(draw, B * T, V);
    const bias = draw.chance(0.5);
    return {
      shapes: bias
        ? [[B, T, C], [V, C], [V]]
        : [
            [B, T, C],
            [V, C],
          ],
      f: ([x, w, b]) => ops.linearCrossEntropy(x, w, targets, { ...options, bias: b }).mul(1.7),
    };
  },
};

function labels(draw: Draw, n: number, V: number) {
  const targets = idsBelow(draw, n, V).map((id) => (draw.chance(0.2) ? -1 : id));
  return { targets, options: { ignoreIndex: -1, labelSmoothing: draw.pick(0, 0.1), zLoss: draw.pick(0, 0.05) } };
}

/** Operations that are views, and ways of combining others, are not in the table: their derivatives are found by name. */
const more: Record<string, (draw: Draw) => Trial | Trial[]> = {
  reshape: (draw) => {
    const [A, B] = primes(draw, 2);
    return { shapes: [[A, 6, B]], f: ([x]) => x.reshape([2 * A, -1]).square() };
  },
  permute: (draw) => ({ shapes: [primes(draw, 4)], f: ([x]) => x.permute([2, 0, 3, 1]).square() }),
  slice: (draw) => ({ shapes: [[5, prime(draw)]], f: ([x]) => x.slice(0, 1, 4).mul(x.slice(0, -3)) }),
  expand: (draw) => {
    const [A, B] = primes(draw, 2);
    return { shapes: [[1, B]], f: ([x]) => x.expand([3, A, B]).exp() };
  },
  windows: (draw) => ({ shapes: [[prime(draw), 7, prime(draw)]], f: ([x]) => ops.windows(x, 3).square() }),
  stack: (draw) => {
    const shape = primes(draw, 2);
    return { shapes: [shape, shape], f: (x) => ops.stack(x, 1).square() };
  },
  'one tensor in many places': () => ({
    shapes: [[3, 3]],
    f: ([x]) => x.matmul(x.T).mul(x).add(x.exp()).sub(x.mean()).mul(2),
  }),
  variance: (draw) => ({ shapes: [primes(draw, 2)], f: ([x]) => x.variance({ axis: -1 }) }),
};

const seed = Number(process.env['QKV_SEED'] ?? 1);
const repeats = Number(process.env['QKV_REPEATS'] ?? 4);

describe(`derivatives equal central differences (QKV_SEED=${seed})`, () => {
  test.each(Object.entries({ ...derivatives, ...more }))('%s', (op, trials) => {
    for (let n = 0; n < repeats; n++) {
      const draw = new Draw(seed * 1000 + n);
      for (const trial of [trials(draw)].flat()) {
        const wrong = withBackend(reference64, () => differences(trial, draw));
        expect(wrong && `${op} ${trial.name ?? ''} ${JSON.stringify(trial.shapes)}: ${wrong}`).toBeUndefined();
      }
    }
  });

  test('a wrong derivative is found', () => {
    const wrong = (f: (x: Tensor) => Tensor) =>
      withBackend(reference64, () => differences({ shapes: [[2, 3]], f: ([x]) => f(x) }, new Draw(1)));
    expect(wrong((x) => x.mul(x.detach()))).toMatch(/element/); // half of d(x²)
    expect(wrong((x) => x.add(x.detach().mul(1e-3)))).toMatch(/element/); // 0.1 % too little
    expect(wrong((x) => x.mul(x))).toBeUndefined();
  });
});

/** What is wrong with the derivative of one trial, in words. */
function differences({ shapes, f, value, step = 1e-5 }: Trial, draw: Draw): string | undefined {
  const tensors = memory.tensors;
  const wrong = compare(shapes, f, value ?? (() => draw.normal()), step, draw);
  return wrong ?? (memory.tensors === tensors ? undefined : `${memory.tensors - tensors} tensors outlived their scope`);
}

function compare(
  shapes: Trial['shapes'],
  f: Trial['f'],
  value: (i: number) => number,
  step: number,
  draw: Draw,
): string | undefined {
  using _ = scope('derivative');
  // Half of the leaves lie in memory with their axes turned round.
  const turned = shapes.map((shape) => shape.length > 1 && draw.chance(0.5));
  const leaves = shapes.map((shape, i) => {
    const inMemory = turned[i] ? [...shape].reverse() : shape;
    const n = shape.reduce((product, size) => product * size, 1);
    return Tensor.from(Float64Array.from({ length: n }, value), inMemory).requireGrad();
  });
  const seen = () =>
    leaves.map((leaf, i) => (turned[i] ? leaf.permute(shapes[i].map((_size, a) => shapes[i].length - 1 - a)) : leaf));
  const y = f(seen());
  const weights = Float64Array.from({ length: y.size }, () => draw.normal());
  const gradients = y.backwardFrom(Tensor.from(weights, y.shape));
  const loss = () => {
    using _inner = scope('difference');
    const values = f(seen()).readSync();
    let sum = 0;
    for (let i = 0; i < values.length; i++) sum += values[i] * weights[i];
    return sum;
  };

  for (const [i, leaf] of leaves.entries()) {
    const given = gradients.get(leaf)?.readSync();
    if (!given) return `input ${i} got no gradient`;
    const values = Float64Array.from(leaf.readSync());
    const expected = values.map((x, at) => {
      const moved = values.slice();
      const lossAt = (place: number) => {
        moved[at] = place;
        leaf.write(moved);
        return loss();
      };
      return (lossAt(x + step) - lossAt(x - step)) / (2 * step);
    });
    leaf.write(values);
    const scale = Math.max(...expected.map(Math.abs), 1e-3);
    for (const [at, want] of expected.entries()) {
      // Relative, but not of differences that are themselves rounding: those are compared with the largest.
      if (!(Math.abs(given[at] - want) <= 1e-4 * Math.max(Math.abs(want), 1e-3 * scale)))
        return `∂/∂x${i}, element ${at} of (${leaf.shape})${turned[i] ? ' in reverse order' : ''} is ${given[at]}, the difference quotient ${want}`;
    }
  }
  return undefined;
}
