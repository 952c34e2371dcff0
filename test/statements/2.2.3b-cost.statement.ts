// What a layer costs as the text grows: T² for attention, T for a recurrent layer. Vaswani et al. 2017, table 1.

import { expect, test } from 'vitest';
import { attention } from '../../src/attention/index.ts';
import { Cell } from '../../src/models/index.ts';
import { dispose } from '../../src/nn/index.ts';
import { noGrad, Rng, scope, Tensor } from '../../src/tensor/index.ts';

const ROUNDS = 10;
/** The same for both. */
const LENGTHS = [1024, 2048, 4096, 8192];

/** Least milliseconds at each length, of many rounds through all of them: whatever else runs disturbs one round, not one length. */
function times(lengths: readonly number[], run: (T: number) => Tensor): [T: number, ms: number][] {
  const least = lengths.map(() => Infinity);
  for (let round = 0; round < ROUNDS; round++)
    for (const [i, T] of lengths.entries()) {
      using _ = scope('timed');
      const start = performance.now();
      noGrad(() => run(T))
        .sum()
        .itemSync();
      least[i] = Math.min(least[i], performance.now() - start);
    }
  return lengths.map((T, i) => [T, least[i]]);
}

/** Least squares through (ln T, ln ms). */
function slope(points: [T: number, ms: number][]): number {
  const xy = points.map(([T, ms]) => [Math.log(T), Math.log(ms)]);
  const mean = (k: number): number => xy.reduce((s, p) => s + p[k], 0) / xy.length;
  const [x, y] = [mean(0), mean(1)];
  return xy.reduce((s, p) => s + (p[0] - x) * (p[1] - y), 0) / xy.reduce((s, p) => s + (p[0] - x) ** 2, 0);
}

test('2.2.3b wall time against T: a log-log slope of 2 ± 0.3 for attention, 1 ± 0.3 for an RNN', () => {
  using _ = scope('lengths');
  const rng = new Rng(1);
  // The core alone, T ≫ D: the projections of a whole layer are linear in T and would hide the square.
  const x = Tensor.normal([1, 2, 8192, 16], 1, rng);
  const cell = new Cell('rnn', 32, 32, rng);
  const words = Tensor.normal([1, 8192, 32], 1, rng);
  const measured = (name: string, run: (T: number) => Tensor): number => {
    const points = times(LENGTHS, run);
    console.log(
      `${name}: slope ${slope(points).toFixed(2)}   ${points.map(([T, ms]) => `T = ${T}: ${ms.toFixed(2)} ms`).join(', ')}`,
    );
    return slope(points);
  };
  const core = measured('attention', (T) => {
    const part = x.slice(2, 0, T);
    return attention(part, part, part);
  });
  const recurrent = measured('RNN', (T) => cell.run(words.slice(1, 0, T)).y);
  dispose(cell);
  expect(Math.abs(core - 2)).toBeLessThanOrEqual(0.3);
  expect(Math.abs(recurrent - 1)).toBeLessThanOrEqual(0.3);
});
