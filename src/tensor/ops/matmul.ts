// Products of matrices, batched.

import type { View } from '../backends/backend.ts';
import { isFloat } from '../dtype.ts';
import { precision, run } from '../engine.ts';
import { broadcastShapes, broadcastStrides, check, type Shape, show, size } from '../shape.ts';
import { Tensor } from '../tensor.ts';
import { apply, op, seenAs } from './op.ts';
import { QuantisedWeight } from './quantised.ts';
import { sumTo } from './reduce.ts';

/** x with its batch axes (all but the last two) repeated to `batch`. */
function batched(x: View, batch: Shape): View {
  const n = x.shape.length - 2;
  if (n === batch.length && batch.every((d, i) => d === x.shape[i])) return x;
  const strides = [...broadcastStrides(x.shape.slice(0, n), x.strides.slice(0, n), batch), ...x.strides.slice(n)];
  return { buffer: x.buffer, offset: x.offset, shape: [...batch, ...x.shape.slice(n)], strides, dtype: x.dtype };
}

/** y ← a · b (+ y), where a and b may be any strided views. */
function product(a: View, b: View, y: View, bias: Tensor | undefined, bf16: boolean): void {
  const batch = y.shape.slice(0, -2);
  run('matmul', [batched(a, batch), batched(b, batch), bias], [y], { accumulate: false, bf16 });
}

/** a · b, laid out so that the result is row-major when seen through the same transposition as `like`: gradients keep their tensor's order. */
function productLike(like: Tensor, a: Tensor, b: Tensor, bf16: boolean): Tensor {
  const shape = [...broadcastShapes('matmul', a.shape.slice(0, -2), b.shape.slice(0, -2)), a.shape.at(-2)!, b.shape.at(-1)!];
  const n = like.strides.length;
  if (like.strides[n - 1] > like.strides[n - 2] && like.strides[n - 2] === 1) {
    const t = Tensor.empty([...shape.slice(0, -2), shape.at(-1)!, shape.at(-2)!], 'f32', undefined, 'dmatmul');
    product(flipped(b), flipped(a), t, undefined, bf16);
    return t.T;
  }
  const t = Tensor.empty(shape, 'f32', undefined, 'dmatmul');
  product(a, b, t, undefined, bf16);
  return t;
}

function check2(name: string, a: Tensor, b: Tensor): void {
  check(
    a.shape.length >= 2 && b.shape.length >= 2,
    () => `${name}: both sides need two axes or more\n  a ${show(a.shape)}\n  b ${show(b.shape)}`,
  );
  const K = a.shape.at(-1)!;
  check(K === b.shape.at(-2), () => {
    const hint = b.shape.at(-1) === K ? '. Did you mean a.matmul(b.T)?' : '';
    return `${name}: inner sizes differ\n  a ${show(a.shape)}\n  b ${show(b.shape)}   a's last axis (${K}) must equal b's second-to-last (${b.shape.at(-2)})${hint}`;
  });
  check(
    isFloat(a.dtype) && isFloat(b.dtype),
    () => `${name}: multiplies floating tensors, not ${a.dtype} and ${b.dtype}; cast first`,
  );
}

/** (…, M, K) · (…, K, N) → (…, M, N);  da = dy · bᵀ,  db = aᵀ · dy */
export const matmulOp = op<{ bf16: boolean }>({
  outputs: ([a, b]) => {
    check2('matmul', a, b);
    return [
      {
        shape: [
          ...broadcastShapes('matmul (batch axes)', a.shape.slice(0, -2), b.shape.slice(0, -2)),
          a.shape.at(-2)!,
          b.shape.at(-1)!,
        ],
      },
    ];
  },
  forward: ([a, b], [y], { bf16 }) => product(a, b, y, undefined, bf16),
  saves: { inputs: true },
  backward: ({ dy, x: [a, b], needs, options: { bf16 } }) => [
    needs[0] ? sumTo(productLike(a, dy, b.T, bf16), a.shape) : undefined,
    needs[1] ? sumTo(productLike(b, a.T, dy, bf16), b.shape) : undefined,
  ],
});

/** y = x Wᵀ + b, x (…, K), W (N, K), b (N) → (…, N);  dx = dy · W,  dW = dyᵀ · x,  db = Σ dy over the rows */
export const linearOp = op<{ bf16: boolean }>({
  outputs: ([x, w, b]) => {
    const K = x.shape.at(-1)!;
    check(
      w.shape.length === 2 && w.shape[1] === K,
      () => `linear: the weight must be (dOut, ${K}) for an input ${show(x.shape)}, but is ${show(w.shape)}`,
    );
    check(
      !b || (b.shape.length === 1 && b.shape[0] === w.shape[0]),
      () => `linear: the bias must be (${w.shape[0]}), but is ${show(b.shape)}`,
    );
    return [{ shape: [...x.shape.slice(0, -1), w.shape[0]] }];
  },
  forward: ([x, w, b], [y], { bf16 }) => product(asRows(x), flipped(w), asRows(y), b, bf16),
  saves: { inputs: [0, 1] },
  backward: ({ dy, x: [x, w], shapes, needs, options: { bf16 }, room }) => {
    const dy2 = asRows(dy);
    let dx: Tensor | undefined;
    let dw: Tensor | undefined;
    if (needs[1]) {
      dw = Tensor.empty(w.shape, 'f32', undefined, 'dlinear');
      product(flipped(dy2), asRows(x), dw, undefined, bf16);
    }
    if (needs[0]) {
      dx = room(0); // the last to read x is done
      product(dy2, w, asRows(dx), undefined, bf16);
    }
    let db: Tensor | undefined;
    if (needs[2]) {
      db = Tensor.empty(shapes[2], 'f32', undefined, 'dlinear');
      run('reduce', [dy2], [seenAs(db, [1, db.size])], { f: 'sum', axes: 1 });
    }
    return [dx, dw, db];
  },
});

/** (…, C) as (R, C) without a copy where the strides allow it. */
function asRows(x: Tensor): View {
  if (x.shape.length === 2) return x;
  const shape = [size(x.shape.slice(0, -1)), x.shape[x.shape.length - 1]];
  return seenAs(x, shape) ?? seenAs(x.contiguousCopy(), shape)!;
}
/** The last two axes swapped. */
function flipped({ buffer, offset, shape, strides, dtype }: View): View {
  const n = shape.length;
  const swap = (s: readonly number[]): number[] => [...s.slice(0, n - 2), s[n - 1], s[n - 2]];
  return { buffer, offset, shape: swap(shape), strides: swap(strides), dtype };
}

export const matmul = (a: Tensor, b: Tensor): Tensor => apply('matmul', matmulOp, [a, b], { bf16: precision() === 'bf16' })[0];
/** y = x Wᵀ + b, in one pass. The weight is (dOut, dIn), the layout of every published checkpoint. */
export const linear = (x: Tensor, w: Tensor | QuantisedWeight, b?: Tensor): Tensor =>
  w instanceof QuantisedWeight ? w.linear(x, b) : apply('linear', linearOp, [x, w, b], { bf16: precision() === 'bf16' })[0];
