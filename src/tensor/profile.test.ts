import { expect, test } from 'vitest';
import { createNative } from './backends/native/index.ts';
import { scope, startProfile, Tensor, withBackend } from './index.ts';

test('a profile counts the kernels of its stretch and no others, by kernel and function, and adds up to the time that passed', () => {
  const native = createNative();
  if (!native) throw new Error('the addon is not built: npm run build');
  withBackend(native, () => {
    using _ = scope('profile test');
    const x = Tensor.ones([256, 256]);
    x.matmul(x);
    const start = performance.now();
    const since = startProfile()!;
    x.matmul(x);
    x.matmul(x).add(x).tanh();
    native.sync();
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50);
    const { idleSeconds, kernels } = since();
    const passed = (performance.now() - start) / 1000;
    expect([...kernels].map(([name, { calls }]) => [name, calls]).sort()).toEqual([
      ['binary add', 1],
      ['matmul', 2],
      ['unary tanh', 1],
    ]);
    const busy = [...kernels.values()].reduce((sum, { seconds }) => sum + seconds, 0);
    expect(busy).toBeGreaterThan(0);
    expect(idleSeconds).toBeGreaterThan(0.045); // this thread slept
    expect(busy + idleSeconds).toBeLessThanOrEqual(passed);
  });
});
