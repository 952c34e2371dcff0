import { expect, test } from 'vitest';
import { crossEntropy, linear, memory, noGrad, QuantisedWeight, Rng, Tensor } from '../tensor/index.ts';
import { dispose, Embedding, Linear, LayerNorm, parameters, quantise, stateDict } from './index.ts';

const rms = (x: ArrayLike<number>): number => Math.sqrt(Array.from(x).reduce((s, v) => s + v * v, 0) / x.length);

test.each([
  [8, 0.006], // a step of max/127 in blocks whose max is near 2.4 σ: 2.4/127/√12
  [4, 0.09], // a sixteenth of the range: sixteen times that
] as const)('%i bits: normal weights come back with a relative error below %f', (bits, bound) => {
  const w = Tensor.normal([64, 96], 0.3, new Rng(1));
  const q = QuantisedWeight.from(w, bits);
  const back = q.dequantise();
  const error = rms(back.sub(w).readSync()) / rms(w.readSync());
  expect(error).toBeLessThan(bound);
  expect(error).toBeGreaterThan(bound / 2);
  // rows by id are rows of the whole
  expect(q.rows([5, 63, 5], [3]).readSync()).toEqual(back.rows([5, 63, 5]).readSync());
  // products are those of the rounded matrix, but for the rounding of x to 8 bits
  const x = Tensor.normal([5, 96], 1, new Rng(2));
  const [y, want] = [linear(x, q).readSync(), linear(x, back).readSync()];
  expect(rms(y.map((v, i) => v - want[i])) / rms(want)).toBeLessThan(0.006);
});

test('one row gives the same bits alone and among seven others', () => {
  const q = QuantisedWeight.from(Tensor.normal([37, 160], 1, new Rng(1)), 8);
  const x = Tensor.normal([8, 160], 1, new Rng(2));
  const together = linear(x, q);
  for (let r = 0; r < 8; r++) expect(linear(x.slice(0, r, r + 1), q).readSync()).toEqual(together.slice(0, r, r + 1).readSync());
});

class Tied {
  readonly tokenEmbedding = new Embedding(48, 64, { rng: new Rng(1) });
  readonly positionEmbedding = new Embedding(9, 64, { rng: new Rng(1) });
  readonly norm = new LayerNorm(64);
  readonly proj = new Linear(64, 64, { rng: new Rng(1) });
  readonly odd = new Linear(40, 64, { rng: new Rng(1) });
}

test.each(['int8', 'int4', 'bf16'] as const)('%s: matrices become small, the rest stays, and all of it is freed', (precision) => {
  const before = memory.liveBytes;
  const m = new Tied();
  const full = memory.liveBytes - before;
  const { bytesBefore, bytesAfter, kept } = quantise(m, precision);
  expect(kept).toEqual(precision === 'bf16' ? [] : ['odd.weight']);
  expect(bytesAfter / bytesBefore).toBeCloseTo({ int8: 8.5 / 32, int4: 4.5 / 32, bf16: 0.5 }[precision], 6);
  expect(memory.liveBytes - before).toBe(full - bytesBefore + bytesAfter);
  expect(parameters(m)).toEqual([]);
  expect(stateDict(m).get('positionEmbedding.weight')!.dtype).toBe('f32');
  quantise(m, precision); // again changes nothing
  expect(memory.liveBytes - before).toBe(full - bytesBefore + bytesAfter);
  dispose(m);
  expect(memory.liveBytes).toBe(before);
});

test('a gradient is refused with the way out, a loss under noGrad is not', () => {
  const m = new Tied();
  quantise(m, 'int8');
  const x = Tensor.normal([3, 64], 1, new Rng(2)).asParameter();
  expect(() => m.proj.forward(x)).toThrow(/8 bits.*no gradient[\s\S]*noGrad/);
  expect(noGrad(() => m.proj.forward(x)).shape).toEqual([3, 64]);
  expect(
    crossEntropy(
      noGrad(() => m.proj.forward(x)),
      [0, 1, 2],
    ).shape,
  ).toEqual([]);
  dispose(m);
});

test('rows of 40 numbers cannot be cut into blocks', () => {
  expect(() => QuantisedWeight.from(Tensor.zeros([2, 40]), 8)).toThrow(/40 numbers cannot be cut into blocks of 32/);
});
