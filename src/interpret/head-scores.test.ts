import { expect, test } from 'vitest';
import { scoreHead } from './head-scores.ts';

/** A head that puts all its weight on one key a query. */
const looksAt = (keys: number[]) => {
  const T = keys.length;
  const w = new Float32Array(T * T);
  keys.forEach((k, q) => {
    w[q * T + k] = 1;
  });
  return w;
};
const ids = [7, 3, 5, 7, 3]; // 7 at 0 and 3, 3 at 1 and 4

test('each pattern, made by hand, has its score and its name', () => {
  expect(scoreHead(looksAt([0, 0, 1, 2, 3]), ids, 0, 1)).toMatchObject({
    layer: 0,
    head: 1,
    previous: 1,
    pattern: 'previous',
    entropy: 0,
  });
  expect(scoreHead(looksAt([0, 0, 0, 0, 0]), [1, 2, 3, 4, 5], 0, 0)).toMatchObject({
    first: 1,
    previous: 0.25,
    pattern: 'first',
    duplicate: Number.NaN,
    induction: Number.NaN,
  });
  expect(scoreHead(looksAt([0, 1, 2, 3, 4]), ids, 0, 0)).toMatchObject({ self: 1, pattern: 'self' });
  expect(scoreHead(looksAt([0, 1, 2, 0, 1]), ids, 0, 0)).toMatchObject({ duplicate: 1, induction: 0, pattern: 'duplicate' });
  expect(scoreHead(looksAt([0, 0, 0, 1, 2]), ids, 0, 0)).toMatchObject({ induction: 1, duplicate: 0, pattern: 'induction' });
});

test('a head that spreads evenly has the entropy of uniform rows: the mean of ln(1) … ln(T)', () => {
  const T = 11;
  const w = new Float32Array(T * T);
  for (let q = 0; q < T; q++) for (let k = 0; k <= q; k++) w[q * T + k] = 1 / (q + 1);
  const s = scoreHead(
    w,
    Array.from({ length: T }, (_, i) => i),
    0,
    0,
  );
  let mean = 0;
  for (let q = 1; q <= T; q++) mean += Math.log(q) / T;
  expect(s.entropy).toBeCloseTo(mean, 5);
  expect(s.pattern).toBe('spread');
});
