/** Where a step's time goes, kernel by kernel: each is waited for, so the sum is a little more than the step takes when nothing waits. */
import type { Kernel, KernelName } from '../src/tensor/backends/backend.ts';
import type { NativeBackend } from '../src/tensor/backends/native/index.ts';

export interface KernelTime {
  calls: number;
  seconds: number;
}

/** `backend` with clocks on its kernels, and what they have shown since the last `reset`. */
export function withClocks(backend: NativeBackend): { clocked: NativeBackend; times: Map<string, KernelTime> } {
  const times = new Map<string, KernelTime>();
  const clocked =
    <N extends KernelName>(name: N): Kernel<N> =>
    (inputs, outputs, options) => {
      backend.sync();
      const start = performance.now();
      backend.kernels[name](inputs, outputs, options);
      backend.sync();
      const label = 'f' in options ? `${name} ${options.f}` : name;
      const t = times.get(label) ?? { calls: 0, seconds: 0 };
      t.calls++;
      t.seconds += (performance.now() - start) / 1000;
      times.set(label, t);
    };
  const kernels = Object.fromEntries(
    (Object.keys(backend.kernels) as KernelName[]).map((name) => [name, clocked(name)]),
  ) as unknown as NativeBackend['kernels'];
  return { clocked: { ...backend, kernels }, times };
}
