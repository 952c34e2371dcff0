import type { Backend, Buffer, KernelName, KernelOptions, View } from './backends/backend.ts';
import { createNative } from './backends/native/index.ts';
import { createReference } from './backends/reference/index.ts';
import { memory } from './scope.ts';

let current: Backend | undefined;

/** The backend that new tensors live on: the native one where it was built, else the reference. QKV_BACKEND=reference|native chooses. */
export function backend(): Backend {
  if (!current) {
    const wanted = process.env.QKV_BACKEND;
    current = wanted === 'reference' ? createReference() : createNative();
    if (!current && wanted === 'native')
      throw new Error('QKV_BACKEND=native, but the native addon is not built: npm run build (it needs a C++20 compiler)');
    current ??= createReference();
  }
  return current;
}

/** Makes `b` the home of new tensors and returns the one before. Tensors of two backends do not mix. */
export function setBackend(b: Backend): Backend {
  const before = backend();
  current = b;
  return before;
}

/** Runs `fn` with new tensors on `b`. */
export function withBackend<R>(b: Backend, fn: () => R): R {
  const before = setBackend(b);
  try {
    return fn();
  } finally {
    current = before;
  }
}

export type Precision = 'fp32' | 'bf16';
let computePrecision: Precision = 'fp32';
/** What matmul and attention multiply in. bf16: inputs rounded to bf16, sums in f32; weights, norms and softmax stay f32. */
export const precision = (): Precision => computePrecision;
export function setPrecision(p: Precision): void {
  computePrecision = p;
}

/** Calls one kernel of the current backend. */
export function run<N extends KernelName>(
  name: N,
  inputs: readonly (View | undefined)[],
  outputs: readonly (View | undefined)[],
  options: KernelOptions[N],
): void {
  backend().kernels[name](inputs, outputs, options);
}

/** Bytes of one backend, shared by the tensors that look at them, freed with the last one. */
export class Storage {
  refs = 1;
  readonly backend: Backend;
  #buffer: Buffer | undefined;
  /** `later`: the memory is taken when it is first asked for. */
  constructor(
    readonly bytes: number,
    later = false,
  ) {
    this.backend = backend();
    if (!later) this.#take();
  }
  get buffer(): Buffer {
    return this.#buffer ?? this.#take();
  }
  #take(): Buffer {
    this.#buffer = this.backend.alloc(this.bytes);
    memory.liveBytes += this.bytes;
    if (memory.liveBytes > memory.peakBytes) memory.peakBytes = memory.liveBytes;
    return this.#buffer;
  }
  release(): void {
    if (--this.refs > 0 || !this.#buffer) return;
    memory.liveBytes -= this.bytes;
    this.backend.free(this.#buffer);
  }
}
