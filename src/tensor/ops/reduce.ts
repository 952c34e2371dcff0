// Many numbers become one, along chosen axes.

import type { ReduceFn } from '../backends/backend.ts';
import { run } from '../engine.ts';
import { scope } from '../scope.ts';
import { axisOf, check, sameShape, type Shape, show } from '../shape.ts';
import { type Axis, Tensor } from '../tensor.ts';
import { apply, lastContiguous, op, rows } from './op.ts';

/** The reduced axes as a bit set, with the shapes that result. */
function plan(f: string, shape: Shape, { axis, keepDims = false }: Axis): { axes: number; kept: Shape; out: Shape } {
  const list = axis === undefined ? shape.map((_, a) => a) : typeof axis === 'number' ? [axis] : axis;
  let axes = 0;
  for (const a of list) axes |= 1 << axisOf(f, a, shape.length);
  const reduced = (a: number): boolean => (axes & (1 << a)) !== 0;
  return {
    axes,
    kept: shape.map((d, a) => (reduced(a) ? 1 : d)),
    out: keepDims ? shape.map((d, a) => (reduced(a) ? 1 : d)) : shape.filter((_, a) => !reduced(a)),
  };
}
const countOf = (shape: Shape, axes: number): number => shape.reduce((n, d, a) => (axes & (1 << a) ? n * d : n), 1);

/**
 * sum: dx = dy repeated · mean: dx = dy / n repeated · max, min: dy goes to the extreme, shared among equals · logsumexp: dx = dy · exp(x − y).
 * The output keeps the reduced axes with size 1; `reduce` drops them by a reshape.
 */
export const reduceOp = op<{ f: ReduceFn; axes: number; kept: Shape }>({
  outputs: ([x], { f, axes, kept }) => {
    check(x.dtype === 'f32', () => `${f}: computes in f32, but the tensor is ${x.dtype}; cast first: x.cast('f32')`);
    check(
      f === 'sum' || f === 'logsumexp' || countOf(x.shape, axes) > 0,
      () => `${f}: an axis of ${show(x.shape)} is empty; there is nothing to take the ${f} of`,
    );
    return [{ shape: kept }];
  },
  forward: ([x], [y], { f, axes }) => run('reduce', [x], [y], { f, axes }),
  saves: { inputs: true, outputs: true },
  backward: ({ dy, x: [x], y: [y], options: { f, axes } }) => {
    switch (f) {
      case 'sum':
        return [dy.expand(x.shape)];
      case 'mean':
        return [dy.mul(1 / countOf(x.shape, axes)).expand(x.shape)];
      case 'logsumexp':
        return [x.sub(y).exp().mul(dy)];
      default: {
        const winners = x.eq(y);
        const n = Tensor.empty(y.shape);
        run('reduce', [winners], [n], { f: 'sum', axes });
        return [winners.mul(dy.div(n))];
      }
    }
  },
});
/** sum and mean do not read their values in the backward pass. */
export const linearReduceOp = op<{ f: ReduceFn; axes: number; kept: Shape }>({
  ...reduceOp,
  saves: {},
  backward: ({ dy, shapes: [x], options: { f, axes } }) => [(f === 'mean' ? dy.mul(1 / countOf(x, axes)) : dy).expand(x)],
});

export function reduce(f: ReduceFn, x: Tensor, axis: Axis): Tensor {
  const { axes, kept, out } = plan(f, x.shape, axis);
  const [y] = apply(f, f === 'sum' || f === 'mean' ? linearReduceOp : reduceOp, [x], { f, axes, kept });
  return sameShape(out, kept) ? y : y.reshape(out);
}

/** Undoes broadcasting in a backward pass: sums dy over the axes that were repeated to reach its shape from `shape`. */
export function sumTo(dy: Tensor, shape: Shape): Tensor {
  if (sameShape(dy.shape, shape)) return dy;
  const lead = dy.shape.length - shape.length;
  const repeated = dy.shape.map((_, a) => a).filter((a) => a < lead || (shape[a - lead] === 1 && dy.shape[a] !== 1));
  return reduce('sum', dy, { axis: repeated, keepDims: true }).reshape(shape);
}

/** y = eˣ / Σ eˣ over the last axis,  dx = y · (dy − Σ dy·y) */
export const softmaxOp = op<void>({
  outputs: ([x]) => [{ shape: x.shape }],
  forward: ([x], [y]) => run('softmax', [rows(x)], [rows(y)], {}),
  saves: { outputs: true },
  backward: ({ dy, y: [y] }) => {
    const dx = Tensor.empty(y.shape, 'f32', undefined, 'dsoftmax');
    run('softmaxBackward', [rows(dy), rows(y)], [rows(dx)], {});
    return [dx];
  },
});
/** y = x − log Σ eˣ over the last axis,  dx = dy − eʸ · Σ dy */
export const logSoftmaxOp = op<void>({
  outputs: ([x]) => [{ shape: x.shape }],
  forward: ([x], [y]) => run('logSoftmax', [rows(x)], [rows(y)], {}),
  saves: { outputs: true },
  backward: ({ dy, y: [y] }) => {
    const dx = Tensor.empty(y.shape, 'f32', undefined, 'dlogSoftmax');
    run('logSoftmaxBackward', [rows(dy), rows(y)], [rows(dx)], {});
    return [dx];
  },
});

export const softmax = (x: Tensor): Tensor => apply('softmax', softmaxOp, [x], undefined)[0];
export const logSoftmax = (x: Tensor): Tensor => apply('logSoftmax', logSoftmaxOp, [x], undefined)[0];

/** No derivative: the place of a maximum is a whole number. */
export function argmax(x: Tensor): Tensor {
  check(x.shape.length > 0 && x.shape[x.shape.length - 1] > 0, () => `argmax: the last axis of ${show(x.shape)} is empty`);
  const y = Tensor.empty([...x.shape.slice(0, -1), 1], 'i32', undefined, 'argmax');
  using _ = scope('argmax');
  run('argmax', [lastContiguous(x)], [y], {});
  return _.keep(y.reshape(x.shape.slice(0, -1)));
}

/** The k greatest of the last axis,  dx = dy scattered to their places (through pick). */
export function topK(x: Tensor, k: number): { values: Tensor; indices: Tensor } {
  const C = x.shape[x.shape.length - 1];
  check(k >= 1 && k <= C, () => `topK: k = ${k}, but the last axis of ${show(x.shape)} has ${C}`);
  const shape = [...x.shape.slice(0, -1), k];
  const values = Tensor.empty(shape, 'f32', undefined, 'topK');
  const indices = Tensor.empty(shape, 'i32', undefined, 'topK');
  using _ = scope('topK');
  run('topK', [lastContiguous(x)], [values, indices], { k });
  return { values, indices };
}
