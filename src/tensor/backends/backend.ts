import type { DType } from '../dtype.ts';

/**
 * A strided window on a buffer: element (i₀, i₁, …) lies at `offset + Σ iₐ·strides[a]` elements from the start of the buffer.
 * A stride of 0 repeats an axis (broadcast). Nothing outside a backend knows where the buffer's bytes live.
 */
export interface View {
  readonly buffer: Buffer;
  readonly offset: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  readonly dtype: DType;
}

/** A block of memory of one backend. `id` means something to that backend only (the native one keeps a byte address in its arena there). */
export interface Buffer {
  readonly id: number;
  readonly bytes: number;
}

export type UnaryFn =
  | 'neg'
  | 'abs'
  | 'exp'
  | 'log'
  | 'sqrt'
  | 'rsqrt'
  | 'square'
  | 'recip'
  | 'sin'
  | 'cos'
  | 'tanh'
  | 'sigmoid'
  | 'relu'
  | 'silu'
  | 'gelu'
  | 'geluTanh'
  | 'erf'
  | 'sign'
  | 'floor';
export type BinaryFn = 'add' | 'sub' | 'mul' | 'div' | 'pow' | 'max' | 'min' | 'eq' | 'ne' | 'lt' | 'le' | 'gt' | 'ge';
export type ReduceFn = 'sum' | 'mean' | 'max' | 'min' | 'logsumexp';

/** The order of these lists is the number that a native command carries. Append only. */
export const unaryFns: readonly UnaryFn[] = [
  'neg',
  'abs',
  'exp',
  'log',
  'sqrt',
  'rsqrt',
  'square',
  'recip',
  'sin',
  'cos',
  'tanh',
  'sigmoid',
  'relu',
  'silu',
  'gelu',
  'geluTanh',
  'erf',
  'sign',
  'floor',
];
export const binaryFns: readonly BinaryFn[] = [
  'add',
  'sub',
  'mul',
  'div',
  'pow',
  'max',
  'min',
  'eq',
  'ne',
  'lt',
  'le',
  'gt',
  'ge',
];
export const reduceFns: readonly ReduceFn[] = ['sum', 'mean', 'max', 'min', 'logsumexp'];

/**
 * Every kernel a backend must have, with its options. Inputs and outputs are given as `inputs → outputs`; `?` may be absent (undefined).
 * Letters: R rows · C channels · V vocabulary · B batch · H heads · G kv heads · T tokens · S source tokens · D head channels.
 * Outputs are contiguous unless said otherwise; "strided" means any strides, 0 included; "rows" means only the last axis must have stride 1.
 * Floating inputs and outputs are f32 unless a line says "any float".
 * unary, unaryBackward, binary, affine and dropout may be given an output that is also an input (the same contiguous view): they work in place. So may
 * layerNormBackward, rmsNormBackward, swigluBackward and crossEntropyBackward be given x, gate and up, or the logits for their gradients.
 */
export interface KernelOptions {
  /** x strided, any dtype → y strided, any dtype: converts (round to nearest even, saturating to integers, NaN to 0). `accumulate`: y += x (f32 only). */
  copy: { accumulate: boolean };
  /** → y strided, any dtype */
  fill: { value: number };
  /** → y contiguous f32; uniform [0, 1) or standard normal × scale + shift; element i is a pure function of (seed, i). See random.ts for the generator. */
  random: { kind: 'uniform' | 'normal'; seed: number; scale: number; shift: number };
  /** → y contiguous i32 or f32; y[i] = start + i·step */
  arange: { start: number; step: number };

  /** x strided → y = f(x) */
  unary: { f: UnaryFn };
  /** dy strided, x strided → dx = dy · f′(x) */
  unaryBackward: { f: UnaryFn };
  /** a, b strided, already broadcast to the shape of y → y = f(a, b); comparisons give 0 or 1; max and min of a NaN are NaN */
  binary: { f: BinaryFn };
  /** x strided → y = scale·x + shift */
  affine: { scale: number; shift: number };
  /** condition strided (u8, i32 or f32; ≠ 0 is true), a, b strided → y */
  where: Record<never, never>;
  /** x strided → y = x · mask / (1 − p), the mask of element i a pure function of (seed, i): see random.ts. Backward: the same on dy */
  dropout: { p: number; seed: number };

  /** x strided → y: the axes in the bit set `axes` (bit a = axis a) are reduced and kept with size 1. Empty axis: sum 0, mean NaN, max −∞, min +∞, logsumexp −∞. A NaN gives NaN */
  reduce: { f: ReduceFn; axes: number };
  /** x rows (…, C) → index i32 (…, 1), first of equals; C > 0; a row with NaN may give any index */
  argmax: Record<never, never>;
  /** x rows (…, C) → values (…, k), indices i32 (…, k), descending, ties by lower index */
  topK: { k: number };
  /** x rows (…, C) → y; −∞ rows give zeros, not NaN */
  softmax: Record<never, never>;
  /** dy rows, y rows → dx = y · (dy − Σ dy·y) */
  softmaxBackward: Record<never, never>;
  /** x rows → y = x − logsumexp(x); −∞ rows stay −∞ */
  logSoftmax: Record<never, never>;
  /** dy rows, y rows → dx = dy − exp(y)·Σ dy */
  logSoftmaxBackward: Record<never, never>;

  /**
   * a strided (…, M, K), b strided (…, K, N), batch axes already broadcast to those of y; bias? (N) f32 contiguous → y (…, M, N).
   * a and b any float; y f32, its last axis contiguous, rows and batch strided. Fast when one of the last two strides of a, and of b, is 1.
   * `accumulate`: y += a·b. `bf16`: inputs are rounded to bf16 first, accumulation stays f32.
   */
  matmul: { accumulate: boolean; bf16: boolean };

  /** table strided rows (V, C) any float, ids i32 contiguous (R) → y f32 (R, C). Ids are in range: the caller has checked. */
  gather: Record<never, never>;
  /** dy rows (R, C), ids i32 (R) → table (V, C): zeroed unless accumulate, then table[ids[r]] += dy[r], in the order of r for each row (deterministic) */
  scatterAdd: { accumulate: boolean };
  /** x rows (R, C), index i32 (R) → y (R) = x[r, index[r]] */
  pick: Record<never, never>;
  /** dy (R), index i32 (R) → dx (R, C), zero but for dx[r, index[r]] = dy[r] */
  pickBackward: Record<never, never>;

  /** x rows (R, C), weight (C), bias? (C) → y (R, C), mean (R), rstd (R).  y = (x − mean)·rstd·weight + bias */
  layerNorm: { eps: number };
  /** dy rows (R, C), x rows (R, C), weight (C), mean (R), rstd (R) → dx (R, C), dweight (C), dbias? (C) */
  layerNormBackward: Record<never, never>;
  /** x rows (R, C), weight (C) → y (R, C), rstd (R).  y = x · rstd · (weight + offset), rstd = 1/√(mean(x²) + ε)  (offset 1 is Gemma's) */
  rmsNorm: { eps: number; offset: number };
  /** dy rows, x rows, weight, rstd → dx (R, C), dweight (C) */
  rmsNormBackward: { offset: number };

  /** gate rows (R, F), up rows (R, F) → y = silu(gate)·up */
  swiglu: Record<never, never>;
  /** dy rows, gate rows, up rows → dgate rows (R, F), dup rows (R, F) (outputs may be strided by rows: halves of one buffer) */
  swigluBackward: Record<never, never>;
  /**
   * x (B, H, T, D) rows, cos, sin (T, P) contiguous with P ≤ D/2 pairs → y (B, H, T, D) rows. Turns the first 2P channels, copies the rest.
   * half-split: pairs are (i, i + P); interleaved: (2i, 2i + 1).   (a, b) → (a·cos − b·sin, b·cos + a·sin); inverse: sin → −sin
   */
  rope: { interleaved: boolean; inverse: boolean };

  /**
   * q (B, H, T, D), k (B, G, S, D), v (B, G, S, D′), all rows; bias? strided (B, H, T, S), already broadcast (strides may be 0); sinks? (H)
   * → y (B, H, T, D′) rows, lse (B, H, T).  H is a multiple of G; head h reads kv head ⌊h·G/H⌋.
   * scores = scale · q·k, then softcap·tanh(scores/softcap) when softcap > 0, then + bias. Key s is allowed for query t when
   * t + (S − T) − left ≤ s ≤ t + (S − T) + right  (−1 means no limit; causal: right = 0). A row with no allowed key, or only scores −∞, gives zeros
   * and lse = −∞ (its sink, where there are sinks).
   * sinks: one extra score a head that takes weight but has no value. Dropout of weight (b, h, t, s): element ((b·H + h)·T + t)·S + s of the mask of random.ts.
   * bf16: products in bf16, softmax and accumulation in f32. Memory beyond inputs and outputs: O(T) a thread.
   */
  attention: { scale: number; left: number; right: number; softcap: number; dropout: number; seed: number; bf16: boolean };
  /**
   * dy (B, H, T, D′) rows, q, k, v, bias?, sinks?, y, lse as above → dq, dk, dv (rows), dbias? (contiguous, the *unbroadcast* shape (B or 1, H or 1, T or 1, S or 1),
   * summed over the broadcast axes), dsinks? (H). Weights are recomputed tile by tile from lse.
   */
  attentionBackward: {
    scale: number;
    left: number;
    right: number;
    softcap: number;
    dropout: number;
    seed: number;
    bf16: boolean;
  };

  /** logits rows (R, V), targets i32 (R) → loss (1), lse (R).  loss = mean over targets ≠ ignoreIndex of (1−ε)(lse − l[t]) + ε(lse − mean l) + zLoss·lse²; 0 when there are none */
  crossEntropy: { ignoreIndex: number; labelSmoothing: number; zLoss: number };
  /** dloss (1), logits rows, targets, lse → dlogits (R, V) */
  crossEntropyBackward: { ignoreIndex: number; labelSmoothing: number; zLoss: number };
  /**
   * x rows (R, C), w rows (V, C), bias? (V), targets i32 (R) → loss (1), dx? (R, C), dw? (V, C), dbias? (V): the gradients for dloss = 1, computed in the same pass,
   * chunk by chunk of rows: the (R, V) logits never exist whole. w may be any float.
   */
  linearCrossEntropy: { ignoreIndex: number; labelSmoothing: number; zLoss: number; bf16: boolean };

  /** tensors x₀ … xₙ₋₁ contiguous → norm (1) = √(Σ x²), accumulated in f64 or by blocks in a fixed order */
  globalNorm: Record<never, never>;
  /**
   * Groups of four contiguous tensors p, g, m, v (inputs = p₀ g₀ m₀ v₀ p₁ …), then norm? (1) last → updates p, m, v in place; outputs = [].
   * g is scaled by min(1, clip/(norm + 1e-6)) when clip > 0; if norm is present and not finite nothing at all is changed.
   * m = β₁m + (1−β₁)g;  v = β₂v + (1−β₂)g²;  p −= lr·( m/c₁ / (√(v/c₂) + ε) + decay·p ),  c = 1 − βᵗ.  Loshchilov & Hutter 2019, alg. 2.
   * `decay`: bit i of the array says whether group i decays (matrices do, vectors do not).
   */
  adamW: {
    lr: number;
    beta1: number;
    beta2: number;
    eps: number;
    weightDecay: number;
    step: number;
    clip: number;
    hasNorm: boolean;
    decays: readonly boolean[];
  };

  /**
   * x rows (R, K), codes u8 (⌈N/8⌉, bytes) contiguous, bias? (N) → y rows (R, N) = x Wᵀ + bias.
   * Eight rows of W lie together as in tensor/quantised-rows.ts: bf16 (16 bits), or blocks of 32 codes of 8 or 4 bits with one bf16 scale. For these x is
   * rounded too, 8 bits a number: with m = max|x| of a block, code = round(x·(127/m)) in f32, ties to even, scale m/127, so that products of codes are summed
   * exactly within a block (m < 1e-30: zeros; NaN or ∞ in x: y is NaN). For at most 8 rows a row of y does not depend on the others, to the bit.
   */
  linearQuantised: { bits: number };
  /** codes u8 (⌈V/8⌉, bytes) as above, ids i32 (R) → y (R, K) = the rows as numbers. Ids are in range: the caller has checked. */
  gatherQuantised: { bits: number };
}

export type KernelName = keyof KernelOptions;
export type Kernel<N extends KernelName> = (
  inputs: readonly (View | undefined)[],
  outputs: readonly (View | undefined)[],
  options: KernelOptions[N],
) => void;
/** A backend that lacks a kernel does not compile. */
export type Kernels = { readonly [N in KernelName]: Kernel<N> };

/** The order is the number a native command carries. Append only; the compiler checks that every kernel is listed. */
export const kernelNames = [
  'copy',
  'fill',
  'random',
  'arange',
  'unary',
  'unaryBackward',
  'binary',
  'affine',
  'where',
  'dropout',
  'reduce',
  'argmax',
  'topK',
  'softmax',
  'softmaxBackward',
  'logSoftmax',
  'logSoftmaxBackward',
  'matmul',
  'gather',
  'scatterAdd',
  'pick',
  'pickBackward',
  'layerNorm',
  'layerNormBackward',
  'rmsNorm',
  'rmsNormBackward',
  'swiglu',
  'swigluBackward',
  'rope',
  'attention',
  'attentionBackward',
  'crossEntropy',
  'crossEntropyBackward',
  'linearCrossEntropy',
  'globalNorm',
  'adamW',
  'linearQuantised',
  'gatherQuantised',
] as const satisfies readonly KernelName[];
type Missing = Exclude<KernelName, (typeof kernelNames)[number]>;
const complete: Missing extends never ? true : Missing = true;
void complete;

export type TypedData = Float32Array | Float64Array | Int32Array | Uint8Array | Uint16Array;

export interface KernelTime {
  calls: number;
  seconds: number;
}
/** What a backend has done with its time since the process started. */
export interface Profile {
  /** It waited for work: JavaScript, data, disk. */
  idleSeconds: number;
  /** By kernel; those of one function each, by kernel and function (`binary add`). */
  kernels: ReadonlyMap<string, KernelTime>;
}

/** One kernel call, as a backend was given it. */
export type Call = {
  [N in KernelName]: {
    name: N;
    inputs: readonly (View | undefined)[];
    outputs: readonly (View | undefined)[];
    options: KernelOptions[N];
  };
}[KernelName];

/** A list of calls, encoded once. */
export interface Prepared {
  /** Queues them all, each number moved k times as far as it is from the first list to the second. */
  submit(k: number): void;
}

/** Numbers in an open file, row by row from byte `position` on, and where they belong. */
export interface FilePart {
  fd: number;
  position: number;
  /** What the file has, little-endian. */
  dtype: 'f32' | 'bf16' | 'f16';
  /** (rows, columns) of f32, in any strides that no two numbers share. */
  to: View;
}

/**
 * Where tensors live and who computes on them. Work is queued in order: a kernel call may return before it has run; `read` resolves after everything
 * queued before it. Buffers may be freed while queued work still uses them: the order of the queue keeps that safe.
 */
export interface Backend {
  readonly name: 'reference' | 'native' | 'webgpu' | 'wasm';
  /** Uninitialised memory. Throws E121 with the bytes asked and available when it cannot be had. */
  alloc(bytes: number): Buffer;
  free(buffer: Buffer): void;
  /** Copies raw elements (of the view's dtype; bf16 and f16 as Uint16Array) into a contiguous view. The data may be reused at once. */
  write(view: View, data: TypedData): void;
  /** Raw elements of a contiguous view (bf16 and f16 as Uint16Array; reference64 gives Float64Array for f32). */
  read(view: View): Promise<TypedData>;
  /** The same, now; backends without it (a GPU) leave it undefined. */
  readSync?(view: View): TypedData;
  /**
   * Fills views from open files, past JavaScript: several pieces at a time, widened and turned on the way. Returns the first part that could not be
   * read whole, or parts.length. Backends that cannot leave it undefined.
   */
  readParts?(parts: readonly FilePart[]): number;
  readonly kernels: Kernels;
  /** The same kernels in two lists, which differ only in numbers of their views. Backends that cannot queue a list leave it undefined. */
  prepare?(calls: readonly Call[], next: readonly Call[]): Prepared;
  /** Waits for what is queued; where the time went so far. Backends that keep no clock leave it undefined. The difference of two is the profile of what ran between. */
  profile?(): Profile;
  /** Threads, instruction set and memory limits, for `qkv doctor` and benchmarks. */
  describe(): { isa: string; threads: number; memoryLimitBytes: number; reservedBytes: number };
}
