/** Statement 5.1.3d of the outline: vectors from ids, one-hot, learned, pretrained and sinusoidal. Packing with document masks: 5.1-packing.test.ts. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { sinusoidalPositions } from '../../src/attention/index.ts';
import { readWordVectors } from '../../src/data/index.ts';
import { Embedding } from '../../src/nn/index.ts';
import { Rng, scope, Tensor } from '../../src/tensor/index.ts';

const [V, C] = [13, 6];

test('5.1.3d a one-hot row times a table is the row of the table, and only rows that occurred learn', () => {
  using _ = scope('test');
  const table = new Embedding(V, C, { rng: new Rng(1) });
  const ids = [7, 2, 7, 11];
  const oneHot = new Float32Array(ids.length * V);
  for (const [t, id] of ids.entries()) oneHot[t * V + id] = 1;
  const hot = Tensor.from(oneHot, [ids.length, V]);
  const rows = table.forward(ids, [ids.length]);
  expect([...hot.matmul(table.weight).readSync()]).toEqual([...rows.readSync()]);
  // The gradient of the lookup is that of the product: dTable = one-hotᵀ · dy, a row that occurs twice has the sum of both.
  const byLookup = rows.square().sum().backward().get(table.weight)!.readSync();
  const byProduct = hot.matmul(table.weight).square().sum().backward().get(table.weight)!.readSync();
  for (let i = 0; i < V * C; i++) expect(byLookup[i]).toBeCloseTo(byProduct[i], 6);
  for (let v = 0; v < V; v++) expect(byLookup.slice(v * C, v * C + C).some((g) => g !== 0)).toBe(ids.includes(v));
});

test('5.1.3d pretrained rows come in the order of the vocabulary', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'qkv-5.1.3-'));
  try {
    const words = ['whale', 'ship', '鲸'];
    writeFileSync(join(folder, 'v.txt'), '鲸 5 6\nother 0 0\nwhale 1 2\n');
    const { values, found } = await readWordVectors(join(folder, 'v.txt'), words);
    expect([...values]).toEqual([1, 2, 3, 4, 5, 6]); // a word without a row has the mean
    expect(found).toEqual([true, false, true]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('5.1.3d sinusoidal: PE(t)·PE(t + k) depends on k alone, and PE(t + k) = R_k PE(t) by one rotation for all t', () => {
  using _ = scope('test');
  const [T, width] = [50, 16];
  const pe = sinusoidalPositions(T, width).readSync() as Float32Array;
  const at = (t: number) => pe.slice(t * width, (t + 1) * width);
  for (const k of [1, 5, 17]) {
    const products = Array.from({ length: T - k }, (_, t) => at(t).reduce((s, x, i) => s + x * at(t + k)[i], 0));
    for (const p of products) expect(p).toBeCloseTo(products[0], 4);
    for (let t = 0; t + k < T; t++)
      for (let i = 0; i < width; i += 2) {
        const angle = k * 10_000 ** (-i / width);
        const [sin, cos] = [at(t)[i], at(t)[i + 1]];
        expect(at(t + k)[i]).toBeCloseTo(sin * Math.cos(angle) + cos * Math.sin(angle), 4);
        expect(at(t + k)[i + 1]).toBeCloseTo(cos * Math.cos(angle) - sin * Math.sin(angle), 4);
      }
  }
});
