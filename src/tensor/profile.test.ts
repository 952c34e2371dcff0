import { expect, test } from 'vitest';
import { createNative } from './backends/native/index.ts';
import { scope, startProfile, Tensor, withBackend } from './index.ts';

test('a profile counts the kernels of its stretch and no others, by kernel and function', () => {
  const native = createNative();
  if (!native) throw new Error('the addon is not built: npm run build');
  withBackend(native, () => {
    using _ = scope('profile test');
    const x = Tensor.ones([256, 256]);
    x.matmul(x);
    const since = startProfile()!;
    x.matmul(x);
    x.matmul(x).add(x).tanh();
    native.sync();
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50);
    const { idleSeconds, kernels } = since();
    expect([...kernels].map(([name, { calls }]) => [name, calls]).sort()).toEqual([
      ['binary add', 1],
      ['matmul', 2],
      ['unary tanh', 1],
    ]);
    for (const { seconds } of kernels.values()) expect(seconds).toBeGreaterThan(0);
    expect(idleSeconds).toBeGreaterThan(0.045); // this thread slept, and nothing was queued
  });
});
