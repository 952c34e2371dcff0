import { expect, test } from 'vitest';
import { erf, erfc, gaussianCdf } from './erf.ts';

test('erf and erfc equal the tables', () => {
  // Abramowitz & Stegun, tables 7.1 and 7.3
  expect(erf(0.5)).toBeCloseTo(0.5204998778, 10);
  expect(erf(1)).toBeCloseTo(0.8427007929, 10);
  expect(erf(2)).toBeCloseTo(0.995322265, 10);
  expect(erfc(3) / 2.209049699858544e-5).toBeCloseTo(1, 14);
  expect(erfc(10) / 2.088487583762545e-45).toBeCloseTo(1, 14);
});

test('the two formulas meet at 2; the function is odd; its ends are ±1', () => {
  expect(erfc(2 - 1e-12) / erfc(2)).toBeCloseTo(1, 11);
  expect(erf(-0.7)).toBe(-erf(0.7));
  expect([erf(0), erf(40), erf(-40), erfc(-40), erf(Number.POSITIVE_INFINITY)]).toEqual([0, 1, -1, 2, 1]);
  expect(erf(Number.NaN)).toBeNaN();
});

test('Φ is the integral of φ (Simpson, 2,000 steps)', () => {
  const h = 3 / 2000;
  let sum = 0;
  for (let i = 0; i <= 2000; i++) sum += Math.exp(-0.5 * (i * h) ** 2) * (i === 0 || i === 2000 ? 1 : i % 2 ? 4 : 2);
  expect(gaussianCdf(3) - gaussianCdf(0)).toBeCloseTo((sum * h) / 3 / Math.sqrt(2 * Math.PI), 12);
});
