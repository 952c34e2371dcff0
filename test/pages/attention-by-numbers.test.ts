import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { faults, page, pagePath, steps } from './attention-by-numbers.ts';

test('4.1.2a formula, code line and tensor of each step agree: every letter has its name in the code, every name its letter', () => {
  for (const step of steps()) expect(faults(step), step.title.en).toEqual([]);
});

test('4.1.2a drift is found: a renamed variable, a changed formula, a line that is no longer there', () => {
  const scores = steps()[3];
  const [{ file, line }] = scores.code;
  expect(faults({ ...scores, formula: String.raw`E = \frac{Q V^\top}{\sqrt{d}}` })).toEqual([
    'V (v) is not in the code',
    'keys is in the code, K not in the formula',
  ]);
  expect(faults({ ...scores, formula: String.raw`E = Q K^\top` })).toEqual(['D is in the code, d not in the formula']);
  const renamed = { file, line: line.replaceAll('scores', 'logits') };
  expect(faults({ ...scores, code: [renamed] })).toEqual([
    'E (scores) is not in the code',
    `${file} has no line: ${renamed.line}`,
  ]);
});

test('4.1.2a the numbers of the page: Y = A V and concat(Y) W_O by hand, and weights that sum to one', () => {
  const [, , V, , , A, Y, out] = steps().map((s) => s.value);
  A.flat().forEach((row) => expect(row.reduce((a, b) => a + b)).toBeCloseTo(1, 6));
  A.forEach((head, h) =>
    head.forEach((row, t) =>
      Y[h][t].forEach((y, d) =>
        expect(y).toBeCloseTo(
          row.reduce((s, w, j) => s + w * V[h][j][d], 0),
          5,
        ),
      ),
    ),
  );
  // W_O of the page: (a, b, c, d) → (a, b, c + d, a − d)
  out[0].forEach((row, t) => {
    const [a, b, c, d] = [...Y[0][t], ...Y[1][t]];
    [a, b, c + d, a - d].forEach((v, i) => expect(row[i]).toBeCloseTo(v, 5));
  });
});

test.each(['en', 'zh'] as const)('4.1.2a the page in the repository (%s) is what npm run pages writes', (lang) => {
  expect(readFileSync(pagePath(lang), 'utf8')).toBe(page(lang));
});
