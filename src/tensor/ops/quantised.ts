// Weights of 8 and 4 bits a number: for writing, not for learning.

import { isTaping } from '../autograd.ts';
import { run } from '../engine.ts';
import { type Bits, dequantiseRows, GROUP, groupLayout, quantiseRows } from '../quantised-rows.ts';
import { check, type Shape, show, size } from '../shape.ts';
import { Tensor } from '../tensor.ts';
import { checkIds } from './indexing.ts';
import { rows } from './op.ts';

/**
 * A matrix (N, K) in blocks of whole numbers, as quantised-rows.ts lays them out. It stands where a weight stood: `linear`, `rows` and
 * `linearCrossEntropy` take it. Belongs to no scope; free it with `codes.free()`, or with its model's `dispose`.
 */
export class QuantisedWeight {
  readonly shape: Shape;
  readonly size: number;
  /** (⌈N/8⌉, bytes of eight rows), u8 */
  readonly codes: Tensor;

  /** Of `shape` (N, K), with K a multiple of 32; its rows are to be set. */
  constructor(
    readonly bits: Bits,
    shape: Shape,
  ) {
    check(shape.length === 2, () => `quantise: a weight must be (N, K), but is ${show(shape)}`);
    this.shape = shape;
    this.size = size(shape);
    this.codes = Tensor.empty([Math.ceil(shape[0] / GROUP), groupLayout(bits, shape[1]).bytes], 'u8')
      .asParameter()
      .freeze();
  }
  /** w (N, K), f32, with K a multiple of 32; it is read, not changed. */
  static from(w: Tensor, bits: Bits): QuantisedWeight {
    const small = new QuantisedWeight(bits, w.shape);
    small.setRows(0, w.readSync() as Float32Array);
    return small;
  }
  /** Rounds `values`, whole rows from the `first`-th on, a multiple of eight; the last of them ends a group of eight rows or the matrix. */
  setRows(first: number, values: Float32Array): void {
    const [N, K] = this.shape;
    const end = first + values.length / K;
    check(
      first % GROUP === 0 && Number.isInteger(end) && end <= N && (end % GROUP === 0 || end === N),
      () => `quantise: rows ${first} … ${end} of ${show(this.shape)} are no whole groups of ${GROUP}`,
    );
    this.codes.writeAt((first / GROUP) * this.codes.shape[1], quantiseRows(values, K, this.bits));
  }
  /** x (…, K) → x Wᵀ + bias (…, N). x is rounded to 8 bits a number, 32 of them sharing a scale. */
  linear(x: Tensor, bias?: Tensor): Tensor {
    const [N, K] = this.shape;
    check(
      x.shape.at(-1) === K,
      () => `linear: the weight must be (dOut, ${x.shape.at(-1)}) for an input ${show(x.shape)}, but is ${show(this.shape)}`,
    );
    check(
      !bias || (bias.shape.length === 1 && bias.shape[0] === N),
      () => `linear: the bias must be (${N}), but is ${show(bias!.shape)}`,
    );
    this.#refuseGradient(x, bias);
    const y = Tensor.empty([...x.shape.slice(0, -1), N], 'f32', undefined, 'linear');
    run('linearQuantised', [rows(x), this.codes, bias], [rows(y)], { bits: this.bits });
    return y;
  }
  /** Rows by ids: (…shape, K). */
  rows(ids: ArrayLike<number>, shape: Shape = [ids.length]): Tensor {
    check(size(shape) === ids.length, () => `embedding: ${ids.length} ids cannot fill ${show(shape)}`);
    checkIds('embedding', ids, this.shape[0]);
    const at = Tensor.from(ids instanceof Int32Array ? ids : Int32Array.from(ids), [ids.length], 'i32');
    const y = Tensor.empty([...shape, this.shape[1]], 'f32', undefined, 'embedding');
    run('gatherQuantised', [this.codes, at], [rows(y)], { bits: this.bits });
    at.free();
    return y;
  }
  /** The matrix as numbers. */
  dequantise(): Tensor {
    return Tensor.from(dequantiseRows(this.codes.readSync() as Uint8Array, this.shape[0], this.shape[1], this.bits), this.shape);
  }
  #refuseGradient(...inputs: (Tensor | undefined)[]): void {
    if (isTaping() && inputs.some((t) => t?.requiresGrad))
      throw new Error(
        `linear: a weight of ${this.bits} bits ${show(this.shape)} has no gradient, nor does what goes through it: it is for writing only. ` +
          'Call it under noGrad(), or train the model before quantise().',
      );
  }
}
