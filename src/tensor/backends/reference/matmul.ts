import type { Kernels, View } from '../backend.ts';
import { roundToBf16 } from './half.ts';
import { sizeOf, type Memory, type Numbers } from './view.ts';

export const matmul = (memory: Memory): Pick<Kernels, 'matmul'> => ({
  matmul([a, b, bias], [y], { accumulate, bf16 }) {
    const [M, N] = y!.shape.slice(-2);
    const K = a!.shape.at(-1)!;
    const batches = sizeOf(y!.shape.slice(0, -2));
    const out = accumulate ? Float64Array.from(memory.load(y!)) : new Float64Array(batches * M * N);
    const shift = bias && memory.load(bias);
    for (let n = 0; n < batches; n++) {
      // One matrix at a time: a broadcast batch axis would otherwise be copied whole.
      const left = factor(memory, matrix(a!, n), bf16);
      const right = factor(memory, matrix(b!, n), bf16);
      multiply(left, right, out.subarray(n * M * N, (n + 1) * M * N), M, N, K);
    }
    if (shift) for (let i = 0; i < out.length; i++) out[i] += shift[i % N];
    memory.store(y!, out);
  },
});

/** y (M, N) += a (M, K) · b (K, N), row-major. Whole rows of b are added to a row of y, four at a time so that y is touched less often. */
function multiply(a: Numbers, b: Numbers, y: Float64Array, M: number, N: number, K: number): void {
  for (let i = 0; i < M; i++) {
    const row = y.subarray(i * N, (i + 1) * N);
    let k = 0;
    for (; k + 4 <= K; k += 4) {
      const at = i * K + k;
      const a0 = a[at];
      const a1 = a[at + 1];
      const a2 = a[at + 2];
      const a3 = a[at + 3];
      const b0 = k * N;
      const b1 = b0 + N;
      const b2 = b1 + N;
      const b3 = b2 + N;
      for (let j = 0; j < N; j++) row[j] += a0 * b[b0 + j] + a1 * b[b1 + j] + a2 * b[b2 + j] + a3 * b[b3 + j];
    }
    for (; k < K; k++) {
      const a0 = a[i * K + k];
      const b0 = k * N;
      for (let j = 0; j < N; j++) row[j] += a0 * b[b0 + j];
    }
  }
}

/** The n-th matrix, in row-major order of the batch axes. */
function matrix(view: View, n: number): View {
  let { offset } = view;
  for (let axis = view.shape.length - 3; axis >= 0; axis--) {
    offset += (n % view.shape[axis]) * view.strides[axis];
    n = Math.floor(n / view.shape[axis]);
  }
  return { buffer: view.buffer, dtype: view.dtype, offset, shape: view.shape.slice(-2), strides: view.strides.slice(-2) };
}

/** An operand as numbers, rounded to bf16 when the product is to be a bf16 one. */
export function factor(memory: Memory, view: View, bf16: boolean): Numbers {
  const values = memory.load(view);
  if (!bf16 || view.dtype === 'bf16') return values;
  const rounded = new Float64Array(values.length);
  for (let i = 0; i < rounded.length; i++) rounded[i] = roundToBf16(values[i]);
  return rounded;
}
