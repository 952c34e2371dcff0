import { expect, test } from 'vitest';
import { attention, attentionWeights } from '../../src/attention/index.ts';
import { Rng, scope, Tensor } from '../../src/tensor/index.ts';
import { largest, normal } from './numbers.ts';

/** Rows that are orthonormal: Gram–Schmidt on normal draws. */
function orthonormal(n: number, rng: Rng): number[][] {
  const rows: number[][] = [];
  while (rows.length < n) {
    let row = Array.from({ length: n }, () => rng.normal());
    for (const other of rows) {
      const along = row.reduce((s, x, i) => s + x * other[i], 0);
      row = row.map((x, i) => x - along * other[i]);
    }
    const length = Math.hypot(...row);
    rows.push(row.map((x) => x / length));
  }
  return rows;
}

test('4.1.1a retrieval: with orthonormal keys and temperature → 0 a query that is key j returns value row j exactly', () => {
  using _ = scope('retrieval');
  const [S, E] = [7, 5];
  const rng = new Rng(41);
  const keys = Tensor.from(orthonormal(S, rng).flat(), [1, 1, S, S]);
  const values = normal(rng, 1, 1, S, E);
  const asked = [4, 0, 6, 4];
  const queries = keys.reshape([S, S]).rows(asked).reshape([1, 1, asked.length, S]);
  const wanted = values.reshape([S, E]).rows(asked).readSync();

  const off = [1, 0.1, 0.02].map((temperature) => largest(attention(queries, keys, values, { scale: 1 / temperature }), wanted));
  expect(off[0]).toBeGreaterThan(0.1); // warm: a mixture of all values
  expect(off[1]).toBeLessThan(off[0]);
  expect(off[2]).toBeLessThanOrEqual(1e-6); // cold: a table look-up
  const weights = attentionWeights(queries, keys, { scale: 50 }).argmax().readSync();
  expect([...weights]).toEqual(asked);
});
