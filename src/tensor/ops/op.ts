import { isTaping, noGrad } from '../autograd.ts';
import type { View } from '../backends/backend.ts';
import type { DType } from '../dtype.ts';
import { scope } from '../scope.ts';
import { reshapeStrides, type Shape } from '../shape.ts';
import { Node, type Rule } from '../tape.ts';
import { Tensor } from '../tensor.ts';

/** What an operation makes: a shape, f32 unless said otherwise; `strides` where the memory order is not row-major. */
export interface Output {
  shape: Shape;
  dtype?: DType;
  strides?: readonly number[];
  /** A view of an existing tensor instead of new memory. */
  window?: { of: Tensor; offset: number };
}

/** One differentiable operation: its shape rule, its kernel call and its derivative, side by side. */
export interface Op<O> extends Pick<Rule<O>, 'saves' | 'backward'> {
  /** The shape rule. Checks the inputs and throws a ShapeError that says what does not fit. */
  outputs(x: readonly Tensor[], options: O): readonly Output[];
  /** Fills y. */
  forward(x: readonly Tensor[], y: readonly Tensor[], options: O): void;
  /** Its outputs are one pass over its inputs, and it saves all of these: what others read of it in the backward pass is made again, not kept. */
  cheap?: true;
}

/** Bytes of an output below which keeping it costs less than making it again. */
const WORTH = 4 << 20;

/** Gives an operation its type; the table in ops/index.ts collects them. */
export const op = <O>(o: Op<O>): Op<O> => o;

function compute<O>(name: string, o: Op<O>, x: readonly Tensor[], options: O): Tensor[] {
  const y = o
    .outputs(x, options)
    .map(({ shape, dtype, strides, window }) =>
      window
        ? window.of.window(shape, strides ?? window.of.strides, window.offset, name)
        : Tensor.empty(shape, dtype, strides, name),
    );
  using _ = scope(name); // copies that a kernel needs live until it has been queued
  noGrad(() => o.forward(x, y, options));
  return y;
}

/** Runs an operation and records it when one of its inputs wants a gradient. */
export function apply<O>(name: string, o: Op<O>, inputs: readonly (Tensor | undefined)[], options: O): Tensor[] {
  const y = compute(name, o, inputs as readonly Tensor[], options);
  if (isTaping() && inputs.some((t) => t?.requiresGrad)) {
    const { saves, backward } = o;
    const again = o.cheap && y[0].storage.bytes >= WORTH ? (x: readonly Tensor[]) => compute(name, o, x, options) : undefined;
    new Node(name, { saves, backward, again }, inputs, y, options);
  }
  return y;
}

/** A view: the same bytes under another shape. `backward` maps dy back. */
export function view(
  name: string,
  x: Tensor,
  shape: Shape,
  strides: readonly number[],
  offset: number,
  backward: (dy: Tensor, shape: Shape) => Tensor,
): Tensor {
  const y = x.window(shape, strides, offset, name);
  if (isTaping() && x.requiresGrad) {
    const from = x.shape;
    new Node(name, { saves: {}, backward: ({ dy }) => [backward(dy, from)] }, [x], [y], undefined);
  }
  return y;
}

/** x, or a row-major copy of it where x has other strides. */
export const packed = (x: Tensor): Tensor => (x.isContiguous ? x : x.contiguousCopy());

/** x under another shape, for a kernel: no tensor is made of it. Undefined where the strides do not allow it. */
export function seenAs(x: Tensor, shape: Shape): View | undefined {
  const strides = reshapeStrides(x.shape, x.strides, shape);
  return strides && { buffer: x.buffer, offset: x.offset, shape, strides, dtype: x.dtype };
}

/** x as (R, C): the last axis at stride 1 and one stride for all rows; copied only where the strides do not allow it. */
export function rows(x: Tensor): View {
  const C = x.shape[x.shape.length - 1];
  const shape = [C === 0 ? 0 : x.size / C, C];
  const flat = seenAs(x, shape);
  return flat && (flat.strides[1] === 1 || C === 1) ? flat : seenAs(x.contiguousCopy(), shape)!;
}

/** x whose last axis has stride 1, any strides before it. */
export const lastContiguous = (x: Tensor): Tensor =>
  x.strides[x.strides.length - 1] === 1 || x.shape[x.shape.length - 1] === 1 ? x : x.contiguousCopy();
