// Element by element. Derivatives: dx = dy · f′(x), summed over the axes that broadcasting repeated.

import type { BinaryFn, UnaryFn, View } from '../backends/backend.ts';
import type { DType } from '../dtype.ts';
import { run } from '../engine.ts';
import { broadcastShapes, broadcastStrides, check, sameShape, type Shape, show } from '../shape.ts';
import { type Operand, Tensor } from '../tensor.ts';
import { apply, type Op, op } from './op.ts';
import { sumTo } from './reduce.ts';

/** x as seen from a larger shape: axes of size 1 repeat. */
export const broadcast = (x: Tensor, shape: Shape): View =>
  sameShape(x.shape, shape)
    ? x
    : { buffer: x.buffer, offset: x.offset, shape, strides: broadcastStrides(x.shape, x.strides, shape), dtype: x.dtype };

function mustBeF32(name: string, ...xs: Tensor[]): void {
  check(
    xs.every((x) => x.dtype === 'f32'),
    () =>
      `${name}: computes in f32, but got ${xs.map((x) => `${x.dtype} ${show(x.shape)}`).join(' and ')}. Cast first: x.cast('f32')`,
  );
}

const binary = (f: BinaryFn, rest: Pick<Op<void>, 'saves' | 'backward' | 'cheap'>): Op<void> =>
  op<void>({
    outputs: ([a, b]) => {
      mustBeF32(f, a, b);
      return [{ shape: broadcastShapes(f, a.shape, b.shape) }];
    },
    forward: ([a, b], [y]) => run('binary', [broadcast(a, y.shape), broadcast(b, y.shape)], [y], { f }),
    ...rest,
  });

/** y = a + b,  da = dy, db = dy */
export const addOp = binary('add', {
  saves: {},
  backward: ({ dy, shapes: [a, b], needs }) => [needs[0] ? sumTo(dy, a) : undefined, needs[1] ? sumTo(dy, b) : undefined],
});
/** y = a − b,  da = dy, db = −dy */
export const subOp = binary('sub', {
  saves: {},
  backward: ({ dy, shapes: [a, b], needs }) => [needs[0] ? sumTo(dy, a) : undefined, needs[1] ? sumTo(dy, b).neg() : undefined],
});
/** y = a · b,  da = dy · b, db = dy · a */
export const mulOp = binary('mul', {
  saves: { inputs: true },
  cheap: true,
  backward: ({ dy, x: [a, b], needs }) => [
    needs[0] ? sumTo(dy.mul(b), a.shape) : undefined,
    needs[1] ? sumTo(dy.mul(a), b.shape) : undefined,
  ],
});
/** y = a / b,  da = dy / b, db = −dy · a / b² */
export const divOp = binary('div', {
  saves: { inputs: true },
  backward: ({ dy, x: [a, b], needs }) => {
    const da = dy.div(b);
    return [needs[0] ? sumTo(da, a.shape) : undefined, needs[1] ? sumTo(da.mul(a).div(b).neg(), b.shape) : undefined];
  },
});
/** y = aᵇ,  da = dy · b · aᵇ⁻¹, db = dy · y · ln a */
export const powOp = binary('pow', {
  saves: { inputs: true, outputs: true },
  backward: ({ dy, x: [a, b], y: [y], needs }) => [
    needs[0] ? sumTo(dy.mul(b).mul(a.pow(b.sub(1))), a.shape) : undefined,
    needs[1] ? sumTo(dy.mul(y).mul(a.log()), b.shape) : undefined,
  ],
});
/** y = max(a, b),  the gradient goes to the greater, to a where they are equal */
export const maximumOp = binary('max', {
  saves: { inputs: true },
  backward: ({ dy, x: [a, b], needs }) => [
    needs[0] ? sumTo(dy.mul(a.ge(b)), a.shape) : undefined,
    needs[1] ? sumTo(dy.mul(a.lt(b)), b.shape) : undefined,
  ],
});
/** y = min(a, b),  the gradient goes to the smaller, to a where they are equal */
export const minimumOp = binary('min', {
  saves: { inputs: true },
  backward: ({ dy, x: [a, b], needs }) => [
    needs[0] ? sumTo(dy.mul(a.le(b)), a.shape) : undefined,
    needs[1] ? sumTo(dy.mul(a.gt(b)), b.shape) : undefined,
  ],
});

/** y = scale · x + shift,  dx = scale · dy */
export const affineOp = op<{ scale: number; shift: number }>({
  outputs: ([x]) => {
    mustBeF32('scale and shift', x);
    return [{ shape: x.shape }];
  },
  forward: ([x], [y], o) => run('affine', [x], [y], o),
  saves: {},
  backward: ({ dy, options: { scale } }) => [scale === 1 ? dy : affine(dy, scale, 0)],
});

/** y = f(x),  dx = dy · f′(x), f′ beside f in the backends (`unaryBackward`) */
export const unaryOp = op<{ f: UnaryFn }>({
  outputs: ([x], { f }) => {
    mustBeF32(f, x);
    return [{ shape: x.shape }];
  },
  forward: ([x], [y], o) => run('unary', [x], [y], o),
  saves: { inputs: true },
  cheap: true,
  backward: ({ dy, x: [x], options, room }) => {
    const dx = room(0);
    run('unaryBackward', [dy, x], [dx], options);
    return [dx];
  },
});

/** y = condition ? a : b,  da = dy where true, db = dy where false */
export const whereOp = op<void>({
  outputs: ([condition, a, b]) => {
    mustBeF32('where', a, b);
    return [{ shape: broadcastShapes('where', condition.shape, broadcastShapes('where', a.shape, b.shape)) }];
  },
  forward: ([condition, a, b], [y]) =>
    run('where', [broadcast(condition, y.shape), broadcast(a, y.shape), broadcast(b, y.shape)], [y], {}),
  saves: { inputs: [0] },
  backward: ({ dy, x: [condition], shapes: [, a, b], needs }) => [
    undefined,
    needs[1] ? sumTo(where(condition, dy, 0), a) : undefined,
    needs[2] ? sumTo(where(condition, scalar(0), dy), b) : undefined,
  ],
});

/** y = x · mask / (1 − p),  dx = dy · mask / (1 − p) with the same mask: a pure function of (seed, place) */
export const dropoutOp = op<{ p: number; seed: number }>({
  outputs: ([x], { p }) => {
    check(p >= 0 && p < 1, () => `dropout: p must be in [0, 1), not ${p}`);
    return [{ shape: x.shape }];
  },
  forward: ([x], [y], o) => run('dropout', [x], [y], o),
  saves: {},
  backward: ({ dy, options }) => [dropout(dy, options.p, options.seed)],
});

/** y = x in another storage,  dx = dy in f32 */
export const castOp = op<{ dtype: DType }>({
  outputs: ([x], { dtype }) => [{ shape: x.shape, dtype }],
  forward: ([x], [y]) => run('copy', [x], [y], { accumulate: false }),
  saves: {},
  backward: ({ dy }) => [cast(dy, 'f32')],
});

const scalar = (v: number): Tensor => Tensor.full([1], v);
const affine = (x: Tensor, scale: number, shift: number): Tensor => apply('affine', affineOp, [x], { scale, shift })[0];

export const add = (a: Tensor, b: Operand): Tensor =>
  typeof b === 'number' ? affine(a, 1, b) : apply('add', addOp, [a, b], undefined)[0];
export const sub = (a: Tensor, b: Operand): Tensor =>
  typeof b === 'number' ? affine(a, 1, -b) : apply('sub', subOp, [a, b], undefined)[0];
export const mul = (a: Tensor, b: Operand): Tensor =>
  typeof b === 'number' ? affine(a, b, 0) : apply('mul', mulOp, [a, b], undefined)[0];
export const div = (a: Tensor, b: Operand): Tensor =>
  typeof b === 'number' ? affine(a, 1 / b, 0) : apply('div', divOp, [a, b], undefined)[0];
export const pow = (a: Tensor, b: Operand): Tensor =>
  apply('pow', powOp, [a, typeof b === 'number' ? scalar(b) : b], undefined)[0];
export const maximum = (a: Tensor, b: Operand): Tensor =>
  apply('maximum', maximumOp, [a, typeof b === 'number' ? scalar(b) : b], undefined)[0];
export const minimum = (a: Tensor, b: Operand): Tensor =>
  apply('minimum', minimumOp, [a, typeof b === 'number' ? scalar(b) : b], undefined)[0];
export const unary = (f: UnaryFn, x: Tensor): Tensor => apply(f, unaryOp, [x], { f })[0];
export const where = (condition: Tensor, a: Tensor, b: Operand): Tensor =>
  apply('where', whereOp, [condition, a, typeof b === 'number' ? scalar(b) : b], undefined)[0];
export const dropout = (x: Tensor, p: number, seed: number): Tensor =>
  p === 0 ? x : apply('dropout', dropoutOp, [x], { p, seed })[0];
export const cast = (x: Tensor, dtype: DType): Tensor => (x.dtype === dtype ? x : apply('cast', castOp, [x], { dtype })[0]);

/** Comparisons have no derivative, so they are not recorded. */
export function compare(f: 'eq' | 'ne' | 'lt' | 'le' | 'gt' | 'ge', a: Tensor, b: Operand): Tensor {
  const other = typeof b === 'number' ? scalar(b) : b;
  mustBeF32(f, a, other);
  const y = Tensor.empty(broadcastShapes(f, a.shape, other.shape), 'f32', undefined, f);
  run('binary', [broadcast(a, y.shape), broadcast(other, y.shape)], [y], { f });
  if (other !== b) other.free();
  return y;
}
