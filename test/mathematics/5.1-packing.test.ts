/** 5.1.3d: documents packed into one row under a document mask have the loss and the gradients that each has alone. */
import { expect, test } from 'vitest';
import { documentMask } from '../../src/attention/index.ts';
import { packedBatch, packLengths } from '../../src/data/packing.ts';
import { Llama } from '../../src/models/index.ts';
import { stateDict } from '../../src/nn/index.ts';
import { Rng, scope } from '../../src/tensor/index.ts';

const T = 19;
const V = 29;
const rng = new Rng(5);
const documents = [3, 11, 7, 2, 14, 5, 5, 9].map((n) => Int32Array.from({ length: n }, () => Math.floor(rng.uniform() * V)));
const lengths = documents.map((d) => d.length - 1);
const rows = packLengths(lengths, T);
const model = new Llama({ vocabSize: V, contextLength: T, nLayer: 2, nHead: 2, dModel: 12 }, new Rng(1));
const parameters = [...stateDict(model).values()];

/** Loss in nats a token and every gradient. */
function lossOf(batch: { inputs: Int32Array; targets: Int32Array; shape: readonly [number, number] }, mask?: Int32Array) {
  using _ = scope('loss');
  const [B, S] = batch.shape;
  const loss = model.loss(batch, mask ? { mask: documentMask(mask, B, S) } : {});
  const [value] = loss.readSync();
  const gradients = loss.backward();
  return { value, gradients: parameters.map((p) => Float64Array.from(gradients.get(p)!.readSync())) };
}

test('packed loss = unpacked loss ≤ 1e-5, and the gradients too; without the mask they are not', () => {
  const packed = packedBatch(documents, rows, T);
  expect(rows.length).toBe(3); // 48 targets in 3 rows of 19, not 8 rows
  const alone = documents.map((d) => lossOf({ inputs: d.slice(0, -1), targets: d.slice(1), shape: [1, d.length - 1] }));
  const tokens = lengths.reduce((a, b) => a + b, 0);
  expect(packed.targetTokens).toBe(tokens);
  const mean = alone.reduce((sum, one, i) => sum + one.value * lengths[i], 0) / tokens;

  const together = lossOf(packed, packed.documents);
  expect(Math.abs(together.value - mean)).toBeLessThanOrEqual(1e-5);
  let worst = 0;
  for (const [k, gradient] of together.gradients.entries()) {
    for (let j = 0; j < gradient.length; j++) {
      const expected = alone.reduce((sum, one, i) => sum + one.gradients[k][j] * lengths[i], 0) / tokens;
      worst = Math.max(worst, Math.abs(gradient[j] - expected));
    }
  }
  expect(worst).toBeLessThanOrEqual(1e-5);
  expect(Math.abs(lossOf(packed).value - mean)).toBeGreaterThan(1e-5);
});
