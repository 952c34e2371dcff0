import { expect, test } from 'vitest';
import { scope, Tensor } from '../tensor/index.ts';
import { RMSNorm } from './norm.ts';

test('a new RMSNorm leaves rows of mean square 1, with an offset (Gemma) as without', () => {
  using _ = scope('test');
  const x = Tensor.from([3, -4, 12], [1, 3]); // mean square (9 + 16 + 144) / 3
  const root = Math.sqrt(169 / 3);
  for (const offset of [0, 1]) {
    const norm = new RMSNorm(3, 0, offset);
    const y = norm.forward(x).readSync();
    [3, -4, 12].forEach((value, i) => expect(y[i]).toBeCloseTo(value / root, 6));
    norm.weight.free('done');
  }
});
