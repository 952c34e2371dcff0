import { backward, type Gradients, isTaping, noGrad } from './autograd.ts';
import type { Buffer, TypedData, View } from './backends/backend.ts';
import { bytesPerElement, type DataOf, type DType } from './dtype.ts';
import { type Dims, dims, rearrangement } from './einops.ts';
import { run, Storage } from './engine.ts';
import * as ops from './ops/index.ts';
import { Rng } from './random.ts';
import { memory, Scope } from './scope.ts';
import { axisOf, check, isContiguous, reshapeStrides, sameShape, type Shape, show, size, stridesOf } from './shape.ts';
import type { Node } from './tape.ts';

export type Operand = Tensor | number;
export interface Axis {
  /** The axis or axes to reduce; all of them when left out. Negative counts from the end. */
  axis?: number | readonly number[];
  /** Keep the reduced axes with size 1. */
  keepDims?: boolean;
}

/**
 * Numbers in a shape that remember how they were made. A tensor is a handle: a window (shape, strides, offset) on bytes that it shares
 * with its views; the bytes go when the last handle is freed, by its scope or by `free()`.
 */
export class Tensor implements View {
  readonly shape: Shape;
  readonly strides: readonly number[];
  readonly offset: number;
  readonly dtype: DType;
  readonly size: number;
  /** What made it, for messages. */
  readonly op: string;
  /** A parameter: the optimizer moves it. */
  trainable = false;
  requiresGrad = false;
  node: Node | undefined;
  outputIndex = 0;
  owner: Scope | undefined;
  /** Set on the tensor that backward() started from: its value stays readable. */
  keepValue = false;
  wasConsumed = false;
  #storage: Storage | undefined;
  #gone = '';
  #hold: Hold | undefined;

  constructor(
    storage: Storage,
    shape: Shape,
    strides: readonly number[],
    offset: number,
    dtype: DType,
    op: string,
    adopt = true,
  ) {
    this.#storage = storage;
    this.shape = shape;
    this.strides = strides;
    this.offset = offset;
    this.dtype = dtype;
    this.size = size(shape);
    this.op = op;
    memory.tensors++;
    if (adopt) {
      const owner = Scope.current;
      if (owner) {
        this.owner = owner;
        owner.adopt(this);
      } else this.watch();
    }
  }

  /** For a tensor that no scope owns: should the last reference to it be lost before free(), the garbage collector lets its bytes go. */
  watch(): void {
    this.#hold = { storage: this.#storage!, node: this.node };
    abandoned.register(this, this.#hold, this.#hold);
  }

  // ---- making

  /** Uninitialised memory. */
  static empty(shape: Shape, dtype: DType = 'f32', strides: readonly number[] = stridesOf(shape), op = 'empty'): Tensor {
    return new Tensor(new Storage(size(shape) * bytesPerElement[dtype]), shape, strides, 0, dtype, op);
  }
  static full(shape: Shape, value: number, dtype: DType = 'f32'): Tensor {
    const t = Tensor.empty(shape, dtype, undefined, 'full');
    run('fill', [], [t], { value });
    return t;
  }
  static zeros(shape: Shape, dtype: DType = 'f32'): Tensor {
    return Tensor.full(shape, 0, dtype);
  }
  static ones(shape: Shape, dtype: DType = 'f32'): Tensor {
    return Tensor.full(shape, 1, dtype);
  }
  /** Copies numbers in, row by row. Uint16Array gives raw bf16 or f16. */
  static from(
    values: ArrayLike<number>,
    shape: Shape = [values.length],
    dtype: DType = values instanceof Int32Array ? 'i32' : values instanceof Uint8Array ? 'u8' : 'f32',
  ): Tensor {
    check(
      size(shape) === values.length,
      () => `Tensor.from: ${values.length} values cannot fill shape ${show(shape)}, which has ${size(shape)} places`,
    );
    const half = dtype === 'bf16' || dtype === 'f16';
    if (half && !(values instanceof Uint16Array)) {
      const wide = Tensor.from(values, shape, 'f32');
      const t = wide.cast(dtype);
      wide.free();
      return t;
    }
    const t = Tensor.empty(shape, dtype, undefined, 'from');
    t.write(values);
    return t;
  }
  /** Independent normal draws of mean 0 and standard deviation `std`; one fork of `rng` a call. */
  static normal(shape: Shape, std: number, rng: Rng): Tensor {
    if (rng === Rng.none) return new Tensor(new Storage(4 * size(shape), true), shape, stridesOf(shape), 0, 'f32', 'normal');
    const t = Tensor.empty(shape, 'f32', undefined, 'normal');
    run('random', [], [t], { kind: 'normal', seed: rng.fork(), scale: std, shift: 0 });
    return t;
  }
  /** Independent draws from [low, high). */
  static uniform(shape: Shape, low: number, high: number, rng: Rng): Tensor {
    const t = Tensor.empty(shape, 'f32', undefined, 'uniform');
    run('random', [], [t], { kind: 'uniform', seed: rng.fork(), scale: high - low, shift: low });
    return t;
  }
  /** start, start + step, … */
  static arange(n: number, start = 0, step = 1, dtype: 'i32' | 'f32' = 'f32'): Tensor {
    const t = Tensor.empty([n], dtype, undefined, 'arange');
    run('arange', [], [t], { start, step });
    return t;
  }

  // ---- life

  get storage(): Storage {
    if (!this.#storage)
      throw new Error(
        `tensor ${show(this.shape)} made by ${this.op} was used after ${this.#gone}. Return it from tidy(), keep it with scope.keep(t), or take t.detach() before.`,
      );
    return this.#storage;
  }
  get buffer(): Buffer {
    return this.storage.buffer;
  }
  get isFreed(): boolean {
    return this.#storage === undefined;
  }
  free(why = 'it was freed'): void {
    const storage = this.#storage;
    if (!storage) return;
    this.#storage = undefined;
    this.#gone = why;
    if (this.#hold) abandoned.unregister(this.#hold);
    this.#hold = undefined;
    memory.tensors--;
    this.owner?.disown(this);
    this.owner = undefined;
    storage.release();
    this.detachFromTape();
  }
  [Symbol.dispose](): void {
    this.free('its `using` block ended');
  }
  detachFromTape(): void {
    if (!this.node) return;
    this.wasConsumed = this.node.consumed;
    this.node.unref();
    this.node = undefined;
    if (this.#hold) this.#hold.node = undefined;
    if (this.wasConsumed) this.requiresGrad = this.trainable;
  }
  madeBy(node: Node, output: number): void {
    this.node = node;
    this.outputIndex = output;
    this.requiresGrad = true;
    node.refs++;
    if (this.#hold) this.#hold.node = node;
  }
  /** A second handle on the same bytes, owned by nobody and unknown to the tape. */
  alias(): Tensor {
    const { storage } = this;
    storage.refs++;
    return new Tensor(storage, this.shape, this.strides, this.offset, this.dtype, this.op, false);
  }
  /** The same bytes seen through another window. */
  window(shape: Shape, strides: readonly number[], offset: number, op: string): Tensor {
    const { storage } = this;
    storage.refs++;
    return new Tensor(storage, shape, strides, offset, this.dtype, op);
  }
  /** The value without its history. */
  detach(): Tensor {
    return this.window(this.shape, this.strides, this.offset, 'detach');
  }
  /** A leaf that the optimizer moves. Parameters belong to no scope. */
  asParameter(): this {
    this.trainable = true;
    this.requiresGrad = true;
    this.owner?.disown(this);
    this.owner = undefined;
    if (!this.#hold) this.watch();
    return this;
  }
  /** A leaf whose gradient is wanted, without being a parameter. */
  requireGrad(): this {
    this.requiresGrad = true;
    return this;
  }
  freeze(): this {
    this.trainable = false;
    this.requiresGrad = false;
    return this;
  }

  // ---- values in and out

  get isContiguous(): boolean {
    return isContiguous(this.shape, this.strides);
  }
  /** Overwrites the values. Outside of the tape: for loading, tests and finite differences. */
  write(values: ArrayLike<number>): void {
    check(values.length === this.size, () => `write: ${values.length} values for a ${show(this.shape)} tensor of ${this.size}`);
    this.writeAt(0, values);
  }
  /** Overwrites the values from the `at`-th on, counted row by row: a tensor in pieces. */
  writeAt(at: number, values: ArrayLike<number>): void {
    check(
      Number.isInteger(at) && at >= 0 && at + values.length <= this.size,
      () => `writeAt: values ${at} … ${at + values.length} of a ${show(this.shape)} tensor of ${this.size}`,
    );
    check(this.isContiguous, () => `write: the tensor is a strided view; write to .contiguous() or to the tensor it looks at`);
    const { buffer, offset, dtype } = this;
    this.storage.backend.write(
      { buffer, offset: offset + at, shape: [values.length], strides: [1], dtype },
      toTyped(values, dtype),
    );
  }
  /** Overwrites these values (a slice, too) with those of `x`, on the backend. Outside of the tape: for caches. */
  copyFrom(x: Tensor): void {
    check(sameShape(this.shape, x.shape), () => `copyFrom: ${show(x.shape)} does not fit into ${show(this.shape)}`);
    run('copy', [x], [this], { accumulate: false });
  }
  /** The values, row by row (bf16 and f16 widened to f32). The read is queued now; await it outside of any scope. */
  read(): Promise<DataOf<DType>> {
    return this.#forReading((t) => this.storage.backend.read(t) as Promise<DataOf<DType>>);
  }
  /** The values, waiting for them. Throws on a backend that cannot wait (a GPU in a browser). */
  readSync(): DataOf<DType> {
    const { backend } = this.storage;
    if (!backend.readSync) throw new Error(`readSync: the ${backend.name} backend has no synchronous reads; use await t.read()`);
    return this.#forReading((t) => backend.readSync!(t) as DataOf<DType>);
  }
  #forReading<R>(read: (t: Tensor) => R): R {
    const half = this.dtype === 'bf16' || this.dtype === 'f16';
    if (this.isContiguous && !half) return read(this);
    const copy = this.contiguousCopy(half ? 'f32' : this.dtype);
    try {
      return read(copy);
    } finally {
      copy.free();
    }
  }
  /** The one number in here. */
  async item(): Promise<number> {
    check(this.size === 1, () => `item() needs one number, but the tensor is ${show(this.shape)}`);
    return (await this.read())[0];
  }
  itemSync(): number {
    check(this.size === 1, () => `item() needs one number, but the tensor is ${show(this.shape)}`);
    return this.readSync()[0];
  }

  // ---- shape

  /** Names the axes and checks them: `const { B, T } = x.dims('B T C', { C: 64 })`. */
  dims<P extends string>(pattern: P, known: Partial<Dims<P>> = {}): Dims<P> {
    return dims(this.shape, pattern, known);
  }
  /** einops: `x.rearrange('B T (H D) -> B H T D', { H: 8 })`. No copy where the strides allow it. */
  rearrange(pattern: string, sizes: Record<string, number> = {}): Tensor {
    const { split, permutation, merged } = rearrangement(this.shape, pattern, sizes);
    let x: Tensor = this;
    if (split.length !== this.shape.length) x = x.reshape(split);
    if (permutation.some((p, i) => p !== i)) x = x.permute(permutation);
    return merged.length !== split.length ? x.reshape(merged) : x;
  }
  /** One axis may be −1. A view where the strides allow it, else a copy. */
  reshape(shape: Shape): Tensor {
    return ops.reshape(this, shape);
  }
  tryReshape(shape: Shape): Tensor | undefined {
    const strides = reshapeStrides(this.shape, this.strides, shape);
    return strides && this.window(shape, strides, this.offset, this.op);
  }
  permute(axes: readonly number[]): Tensor {
    return ops.permute(this, axes);
  }
  /** Swaps two axes. */
  transpose(a = -2, b = -1): Tensor {
    return ops.transpose(this, a, b);
  }
  /** Swaps the last two axes. */
  get T(): Tensor {
    return this.transpose();
  }
  /** Elements from … to − 1 of an axis, a view. */
  slice(axis: number, from: number, to = this.shape[axisOf('slice', axis, this.shape.length)]): Tensor {
    return ops.slice(this, axis, from, to);
  }
  /** n equal parts of an axis, views. */
  split(n: number, axis = -1): Tensor[] {
    return ops.split(this, n, axis);
  }
  /** Repeats axes of size 1 (and new leading axes) without a copy. */
  expand(shape: Shape): Tensor {
    return ops.expand(this, shape);
  }
  /** Zeros (or `value`) before and after an axis. */
  pad(axis: number, before: number, after: number, value = 0): Tensor {
    return ops.pad(this, axis, before, after, value);
  }
  /** Row-major: itself, or a copy. */
  contiguous(): Tensor {
    return this.isContiguous ? this : ops.contiguous(this);
  }
  contiguousCopy(dtype: DType = this.dtype): Tensor {
    const copy = Tensor.empty(this.shape, dtype, undefined, this.op);
    run('copy', [this], [copy], { accumulate: false });
    return copy;
  }
  cast(dtype: DType): Tensor {
    return ops.cast(this, dtype);
  }

  // ---- arithmetic (broadcasting)

  add(b: Operand): Tensor {
    return ops.add(this, b);
  }
  sub(b: Operand): Tensor {
    return ops.sub(this, b);
  }
  mul(b: Operand): Tensor {
    return ops.mul(this, b);
  }
  div(b: Operand): Tensor {
    return ops.div(this, b);
  }
  pow(b: Operand): Tensor {
    return ops.pow(this, b);
  }
  maximum(b: Operand): Tensor {
    return ops.maximum(this, b);
  }
  minimum(b: Operand): Tensor {
    return ops.minimum(this, b);
  }
  /** 1 where equal, else 0; so ne, lt, le, gt, ge. No gradient. */
  eq(b: Operand): Tensor {
    return ops.compare('eq', this, b);
  }
  ne(b: Operand): Tensor {
    return ops.compare('ne', this, b);
  }
  lt(b: Operand): Tensor {
    return ops.compare('lt', this, b);
  }
  le(b: Operand): Tensor {
    return ops.compare('le', this, b);
  }
  gt(b: Operand): Tensor {
    return ops.compare('gt', this, b);
  }
  ge(b: Operand): Tensor {
    return ops.compare('ge', this, b);
  }
  /** This where `condition` ≠ 0, else `other`. */
  where(condition: Tensor, other: Operand): Tensor {
    return ops.where(condition, this, other);
  }
  neg(): Tensor {
    return ops.unary('neg', this);
  }
  abs(): Tensor {
    return ops.unary('abs', this);
  }
  exp(): Tensor {
    return ops.unary('exp', this);
  }
  log(): Tensor {
    return ops.unary('log', this);
  }
  sqrt(): Tensor {
    return ops.unary('sqrt', this);
  }
  /** 1 / √x */
  rsqrt(): Tensor {
    return ops.unary('rsqrt', this);
  }
  square(): Tensor {
    return ops.unary('square', this);
  }
  /** 1 / x */
  recip(): Tensor {
    return ops.unary('recip', this);
  }
  sin(): Tensor {
    return ops.unary('sin', this);
  }
  cos(): Tensor {
    return ops.unary('cos', this);
  }
  tanh(): Tensor {
    return ops.unary('tanh', this);
  }
  sigmoid(): Tensor {
    return ops.unary('sigmoid', this);
  }
  relu(): Tensor {
    return ops.unary('relu', this);
  }
  /** x · sigmoid(x) */
  silu(): Tensor {
    return ops.unary('silu', this);
  }
  /** x · Φ(x), exact. Hendrycks & Gimpel 2016 */
  gelu(): Tensor {
    return ops.unary('gelu', this);
  }
  /** GELU by the tanh approximation, as GPT-2 computes it. */
  geluTanh(): Tensor {
    return ops.unary('geluTanh', this);
  }
  erf(): Tensor {
    return ops.unary('erf', this);
  }
  /** Zeroes each element with probability p and scales the rest by 1/(1 − p); the mask is a pure function of (seed, place). Srivastava et al. 2014 */
  dropout(p: number, seed: number): Tensor {
    return ops.dropout(this, p, seed);
  }

  // ---- reductions

  sum(o: Axis = {}): Tensor {
    return ops.reduce('sum', this, o);
  }
  mean(o: Axis = {}): Tensor {
    return ops.reduce('mean', this, o);
  }
  max(o: Axis = {}): Tensor {
    return ops.reduce('max', this, o);
  }
  min(o: Axis = {}): Tensor {
    return ops.reduce('min', this, o);
  }
  /** log Σ eˣ, without overflow */
  logsumexp(o: Axis = {}): Tensor {
    return ops.reduce('logsumexp', this, o);
  }
  /** Population variance, mean((x − mean)²). */
  variance(o: Axis = {}): Tensor {
    return this.sub(this.mean({ ...o, keepDims: true }))
      .square()
      .mean(o);
  }
  /** Place of the greatest along the last axis, i32. */
  argmax(): Tensor {
    return ops.argmax(this);
  }
  /** The k greatest along the last axis, descending, with their places. */
  topK(k: number): { values: Tensor; indices: Tensor } {
    return ops.topK(this, k);
  }
  /** eˣ / Σ eˣ over the last axis */
  softmax(): Tensor {
    return ops.softmax(this);
  }
  logSoftmax(): Tensor {
    return ops.logSoftmax(this);
  }

  // ---- products and tables

  /** (…, M, K) · (…, K, N) → (…, M, N); batch axes broadcast. */
  matmul(b: Tensor): Tensor {
    return ops.matmul(this, b);
  }
  /** Rows of this (V, C) table, picked by ids. */
  rows(ids: Tensor | ArrayLike<number>, shape?: Shape): Tensor {
    return ops.embedding(this, ids, shape);
  }
  /** x[…, index[…]] along the last axis. */
  pick(index: Tensor): Tensor {
    return ops.pick(this, index);
  }

  /** ∂this/∂leaf for every leaf that wants a gradient. Consumes the tape. */
  backward(): Gradients {
    return backward(this);
  }
  /** ∂(Σ this·dy)/∂leaf: for a tensor that is not a scalar. */
  backwardFrom(dy: Tensor): Gradients {
    return backward(this, dy);
  }
}

/** What a tensor that nobody can reach any more still holds. */
interface Hold {
  storage: Storage;
  node: Node | undefined;
}
const abandoned = new FinalizationRegistry<Hold>(({ storage, node }) => {
  memory.tensors--;
  storage.release();
  node?.unref();
});

function toTyped(values: ArrayLike<number>, dtype: DType): TypedData {
  switch (dtype) {
    case 'f32':
      return values instanceof Float32Array || values instanceof Float64Array ? values : Float32Array.from(values);
    case 'i32':
      return values instanceof Int32Array ? values : Int32Array.from(values);
    case 'u8':
      return values instanceof Uint8Array ? values : Uint8Array.from(values);
    default:
      check(
        values instanceof Uint16Array,
        `writing to a ${dtype} tensor takes the raw bits as a Uint16Array; or write f32 and cast`,
      );
      return values;
  }
}

export { isTaping, noGrad };
