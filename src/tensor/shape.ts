/** A shape that does not fit. The message names the operation, the values and the way out. */
export class ShapeError extends Error {
  override name = 'ShapeError';
}

export type Shape = readonly number[];

export function check(ok: boolean, message: string | (() => string)): asserts ok {
  if (!ok) throw new ShapeError(typeof message === 'string' ? message : message());
}

export function size(shape: Shape): number {
  let n = 1;
  for (const d of shape) n *= d;
  return n;
}

export const show = (shape: Shape): string => `(${shape.join(', ')})`;

/** Row-major strides, in elements: the last axis moves fastest. */
export function stridesOf(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let n = 1;
  for (let a = shape.length - 1; a >= 0; a--) {
    strides[a] = n;
    n *= shape[a];
  }
  return strides;
}

export const sameShape = (a: Shape, b: Shape): boolean => a.length === b.length && a.every((d, i) => d === b[i]);

export function isContiguous(shape: Shape, strides: readonly number[]): boolean {
  let n = 1;
  for (let a = shape.length - 1; a >= 0; a--) {
    if (shape[a] !== 1 && strides[a] !== n) return false;
    n *= shape[a];
  }
  return true;
}

/** NumPy's rule: axes are matched from the right; sizes must be equal, or one of them 1. */
export function broadcastShapes(op: string, a: Shape, b: Shape): Shape {
  if (sameShape(a, b)) return a;
  const n = Math.max(a.length, b.length);
  const out = new Array<number>(n);
  for (let i = 0; i < n; i++) {
    const x = a[i - n + a.length] ?? 1;
    const y = b[i - n + b.length] ?? 1;
    check(
      x === y || x === 1 || y === 1,
      () =>
        `${op}: shapes do not broadcast\n  a ${show(a)}\n  b ${show(b)}   axis ${i - n} (from the right): ${x} against ${y}; they must be equal, or one of them 1`,
    );
    out[i] = x === 1 ? y : x;
  }
  return out;
}

/** Strides that repeat axes of size 1 until `shape` is filled. */
export function broadcastStrides(from: Shape, strides: readonly number[], shape: Shape): number[] {
  const lead = shape.length - from.length;
  return shape.map((d, i) => (i < lead || (from[i - lead] === 1 && d !== 1) ? 0 : strides[i - lead]));
}

/** −1 … −n count from the end, as in NumPy. */
export function axisOf(op: string, axis: number, rank: number): number {
  const a = axis < 0 ? axis + rank : axis;
  check(
    Number.isInteger(a) && a >= 0 && a < rank,
    () => `${op}: axis ${axis} does not exist; the tensor has ${rank} axes (0 … ${rank - 1}, or −${rank} … −1)`,
  );
  return a;
}

/**
 * The strides that see the same elements in a new shape without a copy, or undefined where there are none.
 * Axes of the old shape are grouped into runs that are contiguous among themselves; each run is cut anew.
 */
export function reshapeStrides(shape: Shape, strides: readonly number[], to: Shape): number[] | undefined {
  if (size(shape) === 0 || isContiguous(shape, strides)) return stridesOf(to);
  const from: { d: number; s: number }[] = [];
  for (let a = 0; a < shape.length; a++) if (shape[a] !== 1) from.push({ d: shape[a], s: strides[a] });
  const out = new Array<number>(to.length);
  let i = 0;
  let j = 0;
  while (j < to.length) {
    if (i === from.length) {
      out[j++] = 1; // only axes of size 1 are left
      continue;
    }
    let want = to[j];
    let have = from[i].d;
    const firstI = i;
    const firstJ = j;
    while (want !== have) {
      if (want < have) want *= to[++j] ?? 1;
      else have *= from[++i]?.d ?? 1;
      if (j >= to.length || i >= from.length) return undefined;
    }
    for (let k = firstI; k < i; k++) if (from[k].s !== from[k + 1].d * from[k + 1].s) return undefined;
    let s = from[i].s;
    for (let k = j; k >= firstJ; k--) {
      out[k] = s;
      s *= to[k];
    }
    i++;
    j++;
  }
  return out;
}
