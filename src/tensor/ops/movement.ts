// The same numbers in other places. Most of these are views: no byte moves.

import { run } from '../engine.ts';
import { axisOf, check, reshapeStrides, sameShape, type Shape, show, size, stridesOf } from '../shape.ts';
import { Tensor } from '../tensor.ts';
import { apply, op, view } from './op.ts';
import { sumTo } from './reduce.ts';

/** y has the same elements in row-major order,  dx = dy reshaped back */
export function reshape(x: Tensor, to: Shape): Tensor {
  let shape = to;
  const free = to.indexOf(-1);
  if (free >= 0) {
    const rest = size(to.filter((_, a) => a !== free));
    check(
      rest > 0 && x.size % rest === 0,
      () => `reshape: ${show(x.shape)} has ${x.size} elements; ${show(to)} leaves no whole number for −1`,
    );
    shape = to.map((d, a) => (a === free ? x.size / rest : d));
  }
  check(size(shape) === x.size, () => `reshape: ${show(x.shape)} has ${x.size} elements, ${show(to)} would have ${size(shape)}`);
  const strides = reshapeStrides(x.shape, x.strides, shape);
  if (!strides) return reshape(contiguous(x), shape);
  return view('reshape', x, shape, strides, x.offset, (dy, from) => reshape(dy, from));
}

/** y[i₀, i₁, …] = x with its axes in another order,  dx = dy in the order before */
export function permute(x: Tensor, axes: readonly number[]): Tensor {
  check(
    axes.length === x.shape.length && new Set(axes).size === axes.length && axes.every((a) => a >= 0 && a < axes.length),
    () => `permute: [${axes}] must name each of the ${x.shape.length} axes of ${show(x.shape)} once`,
  );
  const back = axes.map((_, i) => axes.indexOf(i));
  return view(
    'permute',
    x,
    axes.map((a) => x.shape[a]),
    axes.map((a) => x.strides[a]),
    x.offset,
    (dy) => permute(dy, back),
  );
}

/** Two axes swapped. */
export function transpose(x: Tensor, a: number, b: number): Tensor {
  const [i, j] = [axisOf('transpose', a, x.shape.length), axisOf('transpose', b, x.shape.length)];
  return view('transpose', x, swapped(x.shape, i, j), swapped(x.strides, i, j), x.offset, (dy) => transpose(dy, i, j));
}
function swapped(list: readonly number[], i: number, j: number): number[] {
  const out = list.slice();
  [out[i], out[j]] = [out[j], out[i]];
  return out;
}

/** y = x[…, from : to, …],  dx = dy with zeros around it */
export function slice(x: Tensor, axis: number, from: number, to: number): Tensor {
  const a = axisOf('slice', axis, x.shape.length);
  const n = x.shape[a];
  const [start, end] = [from < 0 ? from + n : from, to < 0 ? to + n : to];
  check(
    start >= 0 && start <= end && end <= n,
    () => `slice: ${from} … ${to} is not inside axis ${axis} of ${show(x.shape)}, which has ${n}`,
  );
  const shape = x.shape.map((d, i) => (i === a ? end - start : d));
  return view('slice', x, shape, x.strides, x.offset + start * x.strides[a], (dy) => pad(dy, a, start, n - end, 0));
}

/** n equal parts of an axis, views;  dx = the dys side by side (zeros where a part was not used) */
export const splitOp = op<{ n: number; axis: number }>({
  outputs: () => [],
  forward: () => {},
  saves: {},
  backward: ({ dys, shapes: [shape], options: { n, axis } }) => {
    const width = shape[axis] / n;
    const whole = sideBySide(dys, shape, axis);
    if (whole) return [whole];
    const dx = Tensor.empty(shape, 'f32', undefined, 'dsplit');
    dys.forEach((dy, i) => {
      const part = slice(dx, axis, i * width, (i + 1) * width);
      if (dy) run('copy', [dy], [part], { accumulate: false });
      else run('fill', [], [part], { value: 0 });
    });
    return [dx];
  },
});
/** The row-major tensor whose parts along `axis` these are already, where they are. */
function sideBySide(parts: readonly (Tensor | undefined)[], shape: Shape, axis: number): Tensor | undefined {
  const strides = stridesOf(shape);
  const first = parts[0];
  if (!first) return undefined;
  const inPlace = parts.every(
    (t, i) =>
      t?.storage === first.storage &&
      t.offset === first.offset + i * t.shape[axis] * strides[axis] &&
      t.strides.every((s, a) => s === strides[a] || shape[a] === 1),
  );
  return inPlace ? first.window(shape, strides, first.offset, 'dsplit') : undefined;
}
export function split(x: Tensor, n: number, axis = -1): Tensor[] {
  const a = axisOf('split', axis, x.shape.length);
  const width = x.shape[a] / n;
  check(
    Number.isInteger(width),
    () => `split: axis ${axis} of ${show(x.shape)} has ${x.shape[a]}, which cannot be cut in ${n} equal parts`,
  );
  const shape = x.shape.map((d, i) => (i === a ? width : d));
  return apply(
    'split',
    {
      ...splitOp,
      outputs: () =>
        Array.from({ length: n }, (_, i) => ({ shape, window: { of: x, offset: x.offset + i * width * x.strides[a] } })),
    },
    [x],
    { n, axis: a },
  );
}

/** y = parts side by side,  d(part) = its slice of dy */
export const concatOp = op<{ axis: number }>({
  outputs: (x, { axis }) => {
    for (const t of x) {
      check(
        t.shape.length === x[0].shape.length && t.shape.every((d, a) => a === axis || d === x[0].shape[a]),
        () => `concat: parts must agree in all axes but ${axis}: ${x.map((p) => show(p.shape)).join(' ')}`,
      );
    }
    return [{ shape: x[0].shape.map((d, a) => (a === axis ? x.reduce((n, t) => n + t.shape[axis], 0) : d)), dtype: x[0].dtype }];
  },
  forward: (x, [y], { axis }) => {
    let at = 0;
    for (const t of x) run('copy', [t], [slice(y, axis, at, (at += t.shape[axis]))], { accumulate: false });
  },
  saves: {},
  backward: ({ dy, shapes, options: { axis } }) => {
    let at = 0;
    return shapes.map((s) => slice(dy, axis, at, (at += s[axis])));
  },
});
export function concat(parts: readonly Tensor[], axis = -1): Tensor {
  check(parts.length > 0, 'concat: needs at least one tensor');
  return apply('concat', concatOp, parts, { axis: axisOf('concat', axis, parts[0].shape.length) })[0];
}
/** Tensors of one shape along a new axis. */
export const stack = (parts: readonly Tensor[], axis = 0): Tensor => {
  const a = axis < 0 ? axis + parts[0].shape.length + 1 : axis;
  return concat(
    parts.map((p) => reshape(p, [...p.shape.slice(0, a), 1, ...p.shape.slice(a)])),
    a,
  );
};

/** y = x with `value` before and after an axis,  dx = the middle of dy */
export const padOp = op<{ axis: number; before: number; after: number; value: number }>({
  outputs: ([x], { axis, before, after }) => {
    check(before >= 0 && after >= 0, () => `pad: ${before} before and ${after} after; both must be ≥ 0 (use slice to cut)`);
    return [{ shape: x.shape.map((d, a) => (a === axis ? d + before + after : d)), dtype: x.dtype }];
  },
  forward: ([x], [y], { axis, before, value }) => {
    run('fill', [], [y], { value });
    run('copy', [x], [slice(y, axis, before, before + x.shape[axis])], { accumulate: false });
  },
  saves: {},
  backward: ({ dy, shapes: [x], options: { axis, before } }) => [slice(dy, axis, before, before + x[axis])],
});
export const pad = (x: Tensor, axis: number, before: number, after: number, value = 0): Tensor =>
  apply('pad', padOp, [x], { axis: axisOf('pad', axis, x.shape.length), before, after, value })[0];

/** y repeats axes of size 1 (and new leading axes), a view;  dx = dy summed over the repeats */
export function expand(x: Tensor, shape: Shape): Tensor {
  if (sameShape(x.shape, shape)) return x;
  const lead = shape.length - x.shape.length;
  check(
    lead >= 0 && x.shape.every((d, a) => d === shape[a + lead] || d === 1),
    () => `expand: ${show(x.shape)} cannot be repeated to ${show(shape)}; only axes of size 1 repeat`,
  );
  const strides = shape.map((d, a) => (a < lead || (x.shape[a - lead] === 1 && d !== 1) ? 0 : x.strides[a - lead]));
  return view('expand', x, shape, strides, x.offset, (dy, from) => sumTo(dy, from));
}

/** y = x in row-major order,  dx = dy */
export const contiguousOp = op<void>({
  outputs: ([x]) => [{ shape: x.shape, dtype: x.dtype }],
  forward: ([x], [y]) => run('copy', [x], [y], { accumulate: false }),
  saves: {},
  backward: ({ dy }) => [dy],
});
export const contiguous = (x: Tensor): Tensor => apply('contiguous', contiguousOp, [x], undefined)[0];

/**
 * Windows of `width` neighbours along an axis, a view: (…, T, C) → (…, T − width + 1, width, C).  dx sums the overlaps.
 * The heart of a 1-D convolution: reshape to (…, T′, width·C) and multiply.
 */
export function windows(x: Tensor, width: number): Tensor {
  const n = x.shape.length;
  const [T, C] = [x.shape[n - 2], x.shape[n - 1]];
  check(width >= 1 && width <= T, () => `windows: width ${width} does not fit the ${T} steps of ${show(x.shape)}`);
  const shape = [...x.shape.slice(0, -2), T - width + 1, width, C];
  const strides = [...x.strides.slice(0, -2), x.strides[n - 2], x.strides[n - 2], x.strides[n - 1]];
  return view('windows', x, shape, strides, x.offset, (dy, from) => {
    const dx = Tensor.zeros(from);
    for (let k = 0; k < width; k++) {
      const part = reshape(slice(dy, n - 1, k, k + 1), [...from.slice(0, -2), T - width + 1, C]);
      run('copy', [part], [slice(dx, n - 2, k, k + T - width + 1)], { accumulate: true });
    }
    return dx;
  });
}
