import type { KernelName, Kernels } from '../../src/tensor/backends/backend.ts';
import { backend, withBackend } from '../../src/tensor/index.ts';

/**
 * Runs `fn` on a backend that counts: how often each kernel is called, and the floating-point operations of matrix products
 * (2·M·N·K) and of attention (2·T·S·D for the scores and 2·T·S·E for the values, a head).
 */
export function countKernels(fn: () => unknown): { calls: Partial<Record<KernelName, number>>; flops: number } {
  const real = backend();
  const calls: Partial<Record<KernelName, number>> = {};
  let flops = 0;
  const product = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);
  const kernels = new Proxy(real.kernels, {
    get: (target, name: KernelName) => (inputs: never, outputs: never, options: never) => {
      calls[name] = (calls[name] ?? 0) + 1;
      const [a, b, c] = inputs as readonly { shape: readonly number[] }[];
      if (name === 'matmul') flops += 2 * product((outputs as { shape: number[] }[])[0].shape) * a.shape.at(-1)!;
      if (name === 'attention') {
        const [B, H, T, D] = a.shape;
        flops += 2 * B * H * T * b.shape[2] * (D + c.shape[3]);
      }
      return (target[name] as (...args: never[]) => void)(inputs, outputs, options);
    },
  }) as Kernels;
  // The rest of the backend is the real one: tensors made here belong to it.
  const counting = new Proxy(real, { get: (target, key) => (key === 'kernels' ? kernels : Reflect.get(target, key)) });
  withBackend(counting, () => fn());
  return { calls, flops };
}
