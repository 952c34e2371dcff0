import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { cohenKappa, fleissKappa, type Level, krippendorffAlpha, type Ratings } from './agreement.ts';

/** Values of scikit-learn 1.9.1, statsmodels 0.15.0 and krippendorff 0.9.0, made by test/parity/make_agreement.py. */
const golden = JSON.parse(readFileSync(new URL('../../test/parity/agreement.json', import.meta.url), 'utf8'));

test("Cohen's κ equals scikit-learn's, weighted too", () => {
  const { ratings, cohen, linear, quadratic } = golden.full;
  for (let i = 0; i < 3; i++) for (let j = 0; j < 3; j++) expect(cohenKappa(ratings[i], ratings[j])).toBeCloseTo(cohen[i][j], 12);
  expect(cohenKappa(ratings[0], ratings[1], 'linear')).toBeCloseTo(linear, 12);
  expect(cohenKappa(ratings[0], ratings[1], 'quadratic')).toBeCloseTo(quadratic, 12);
  expect(cohenKappa(golden.lopsided.ratings[0], golden.lopsided.ratings[1])).toBeCloseTo(golden.lopsided.cohen, 12);
});

test("Cohen's κ by hand: 20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no; texts, and items that one left out", () => {
  const times = (n: number, v: string | null) => Array<string | null>(n).fill(v);
  const a = [...times(25, 'yes'), ...times(25, 'no'), ...times(3, null)];
  const b = [...times(20, 'yes'), ...times(5, 'no'), ...times(10, 'yes'), ...times(15, 'no'), ...times(3, 'yes')];
  expect(cohenKappa(a, b)).toBeCloseTo((0.7 - 0.5) / 0.5, 12); // pₒ = 35/50, pₑ = 0.5·0.6 + 0.5·0.4
});

test("Fleiss' κ equals statsmodels'", () => {
  expect(fleissKappa(golden.full.ratings)).toBeCloseTo(golden.full.fleiss, 12);
  expect(() => fleissKappa(golden.holes.ratings)).toThrow(/krippendorffAlpha/);
});

test.each(['full', 'holes', 'scale', 'lopsided'])("Krippendorff's α of %s equals krippendorff's at every level", (name) => {
  const { ratings, alpha } = golden[name] as { ratings: Ratings; alpha: Record<Level, number> };
  for (const level of ['nominal', 'ordinal', 'interval'] as const)
    expect(krippendorffAlpha(ratings, level), level).toBeCloseTo(alpha[level], 12);
  // Whoever said it does not matter.
  expect(krippendorffAlpha([...ratings].reverse(), 'ordinal')).toBeCloseTo(alpha.ordinal, 12);
});

test('all the same is 1 where chance could differ, and undefined where it could not', () => {
  expect(
    krippendorffAlpha([
      ['a', 'b'],
      ['a', 'b'],
    ]),
  ).toBe(1);
  expect(cohenKappa(['a', 'b'], ['a', 'b'])).toBe(1);
  expect(
    krippendorffAlpha([
      ['a', 'a'],
      ['a', 'a'],
    ]),
  ).toBeNaN();
  expect(() =>
    krippendorffAlpha(
      [
        ['a', 'b'],
        ['a', 'b'],
      ],
      'interval',
    ),
  ).toThrow(/numbers/);
  expect(() => cohenKappa(['a'], ['a', 'b'])).toThrow(/same items/);
});
