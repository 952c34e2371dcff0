import { expect, test } from 'vitest';
import { barOf, bars, curve, heatmap, levelOf } from './terminal.ts';
import { displayWidth } from './width.ts';

/** A made-up induction head, as in the design page. */
const tokens = ['<bos>', '解码器', '的', '核心', '解码器'];
const weights = [
  [1, 0, 0, 0, 0],
  [0.67, 0.33, 0, 0, 0],
  [0.56, 0.2, 0.24, 0, 0],
  [0.48, 0.12, 0.2, 0.2, 0],
  [0.09, 0.05, 0.69, 0.05, 0.12],
].flat();

test('shades: golden picture, columns aligned under Chinese labels', () => {
  expect(heatmap(weights, { labels: tokens, title: 'L1H3', lang: 'en' })).toBe(
    [
      'L1H3   rows = query, columns = key',
      'shade: blank 0%–2.8%  · 2.8%–11.1%  ░ 11.1%–25%  ▒ 25%–44.4%  ▓ 44.4%–69.4%  █ ≥69.4%',
      ' <bos> 0 │██        │ → 0 <bos> 100%',
      '解码器 1 │▓▓▒▒      │ → 0 <bos> 67%',
      '    的 2 │▓▓░░░░    │ → 0 <bos> 56%',
      '  核心 3 │▓▓░░░░░░  │ → 0 <bos> 48%',
      '解码器 4 │····▓▓··░░│ → 2 的 69%',
      '          0 1 2 3 4',
    ].join('\n'),
  );
});

test('digits and ascii use nothing that a terminal could draw wide', () => {
  for (const cells of ['digits', 'ascii'] as const) {
    const picture = heatmap(weights, { labels: ['a', 'b', 'c', 'd', 'e'], cells });
    const body = picture.split('\n').slice(2).join('\n');
    expect(body).toMatch(/^[\x20-\x7e\n]+$/);
  }
  expect(heatmap(weights, { labels: tokens, cells: 'digits' }).split('\n')[6]).toBe('解码器 4 |0 0 6 0 1 | -> 2 的 69%');
});

test('coloured cells: as many as there are weights below the diagonal, and nothing without its reset', () => {
  for (const cells of ['truecolor', '256'] as const) {
    const rows = heatmap(weights, { labels: tokens, cells }).split('\n').slice(2);
    expect(rows.join('').match(/\x1b\[48/g)).toHaveLength(15);
    expect(rows.join('').match(/\x1b\[0m/g)).toHaveLength(15);
    const widths = rows.slice(0, 5).map((r) => displayWidth(r.slice(0, r.lastIndexOf('│') + 1)));
    expect(new Set(widths).size).toBe(1);
  }
});

test('rows line up when ambiguous characters are drawn wide', () => {
  const rows = heatmap(weights, { labels: tokens, ambiguous: 'wide' }).split('\n').slice(2, 7);
  expect(new Set(rows.map((r) => displayWidth(r.slice(0, r.lastIndexOf('│') + 1), 'wide'))).size).toBe(1);
});

test('a large matrix is pooled by maximum: one hot cell survives, and the picture keeps to its width', () => {
  const T = 130;
  const w = new Float32Array(T * T);
  w[101 * T + 17] = 1;
  const picture = heatmap(w, { labels: Array.from({ length: T }, (_, i) => `t${i}`), width: 80 });
  expect(
    picture
      .split('\n')
      .slice(2)
      .filter((l) => l.includes('██')),
  ).toHaveLength(1);
  for (const line of picture.split('\n').slice(2)) expect(displayWidth(line)).toBeLessThanOrEqual(80);
});

test('√ coding: level k begins at (k/6)²', () => {
  for (let k = 1; k < 6; k++) {
    expect(levelOf((k / 6) ** 2, 6)).toBe(k);
    expect(levelOf((k / 6) ** 2 - 1e-4, 6)).toBe(k - 1);
  }
  expect([levelOf(0, 6), levelOf(1, 6), levelOf(-1, 6), levelOf(2, 6)]).toEqual([0, 5, 0, 5]);
});

test('weights and labels must fit', () => {
  expect(() => heatmap([1, 2, 3], { labels: ['a', 'b'] })).toThrow(/2 labels need 4 weights, not 3/);
});

test('bars: length in eighths, labels aligned', () => {
  expect(barOf(0.5, 4)).toBe('██');
  expect(barOf(0.53125, 4)).toBe('██▏');
  expect(barOf(1, 4)).toBe('████');
  expect([barOf(0, 4), barOf(Number.NaN, 4), barOf(9, 4)]).toEqual(['', '', '████']);
  expect(
    bars(
      [
        { label: '的', value: 2 },
        { label: 'a', value: 1, note: '33%' },
      ],
      { length: 4 },
    ),
  ).toBe('的 ████ 2\n a ██   33%');
  expect(bars([{ label: 'a', value: 1 }], { length: 3, ascii: true })).toBe('a ### 1');
});

test('curve: falling values run from the upper left to the lower right, values that are no numbers are left out', () => {
  const fall = [
    { x: 0, y: 4 },
    { x: 1, y: 2 },
  ];
  expect(curve(fall, { width: 4, height: 2 })).toBe('4.00 ┤⠙⢦⡀\n2.00 ┤⠀⠀⠙⢦');
  expect(curve([...fall, { x: 0.5, y: Number.NaN }], { width: 4, height: 2 })).toBe('4.00 ┤⠙⢦⡀\n2.00 ┤⠀⠀⠙⢦');
  expect(curve([{ x: 0, y: Number.NaN }])).toBe('');
  expect(curve([{ x: 3, y: 1 }], { width: 2, height: 1 })).toBe('1.00 ┤⠄');
});
