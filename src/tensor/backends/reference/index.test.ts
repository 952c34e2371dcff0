import { expect, test } from 'vitest';
import type { DType } from '../../dtype.ts';
import type { Backend, View } from '../backend.ts';
import { createReference } from './index.ts';

function vector(backend: Backend, values: number[], dtype: DType = 'f32'): View {
  const view = { buffer: backend.alloc(4 * values.length), offset: 0, shape: [values.length], strides: [1], dtype };
  const Data = { f32: Float32Array, i32: Int32Array, u8: Uint8Array, bf16: Uint16Array, f16: Uint16Array }[dtype];
  backend.write(view, Data.from(values));
  return view;
}

test('a freed buffer cannot be used, nor freed twice', () => {
  const backend = createReference();
  const x = vector(backend, [1, 2]);
  expect(backend.describe().reservedBytes).toBe(8);
  backend.free(x.buffer);
  expect(() => backend.readSync!(x)).toThrow(/freed/);
  expect(() => backend.kernels.affine([x], [x], { scale: 1, shift: 0 })).toThrow(/freed/);
  expect(() => backend.free(x.buffer)).toThrow(/freed/);
  expect(backend.describe().reservedBytes).toBe(0);
});

test('alloc beyond the limit throws E121 with the bytes asked and available', () => {
  const backend = createReference({ memoryLimitBytes: 100 });
  backend.alloc(60);
  expect(() => backend.alloc(41)).toThrow(expect.objectContaining({ code: 'E121', values: { bytes: 41, available: 40 } }));
  backend.alloc(40);
});

test('f32 rounds each result once; f64 keeps everything and still counts 4 bytes an element', () => {
  for (const precision of ['f32', 'f64'] as const) {
    const backend = createReference({ precision });
    const x = vector(backend, [1, 3]);
    const y = vector(backend, [0, 0]);
    backend.kernels.affine([x], [y], { scale: 1 / 3, shift: 1e-12 });
    const exact = [1 / 3 + 1e-12, 1 + 1e-12];
    expect([...backend.readSync!(y)]).toEqual(precision === 'f64' ? exact : exact.map(Math.fround));
    expect(backend.describe().reservedBytes).toBe(16);
  }
});

test('copy converts: to the nearest even whole number, within the range of the type, NaN to 0', () => {
  const backend = createReference();
  const x = vector(backend, [0.5, 1.5, -2.5, 254.5, 255.7, 3e9, -3e9, Number.NaN, 100.49]);
  const i = vector(backend, new Array(9).fill(7), 'i32');
  const u = vector(backend, new Array(9).fill(7), 'u8');
  backend.kernels.copy([x], [i], { accumulate: false });
  backend.kernels.copy([x], [u], { accumulate: false });
  expect([...backend.readSync!(i)]).toEqual([0, 2, -2, 254, 256, 2 ** 31 - 1, -(2 ** 31), 0, 100]);
  expect([...backend.readSync!(u)]).toEqual([0, 2, 0, 254, 255, 255, 0, 0, 100]);
});

test('attention of two tokens by hand: the first sees itself, the second both', async () => {
  const backend = createReference({ precision: 'f64' });
  const of = (values: number[], shape: number[], strides: number[]): View => ({ ...vector(backend, values), shape, strides });
  const q = of([1, 2], [1, 1, 2, 1], [2, 2, 1, 1]);
  const v = of([10, 20], [1, 1, 2, 1], [2, 2, 1, 1]);
  const y = of([0, 0], [1, 1, 2, 1], [2, 2, 1, 1]);
  const lse = of([0, 0], [1, 1, 2], [2, 2, 1]);
  const causal = { scale: 1, left: -1, right: 0, softcap: 0, dropout: 0, seed: 0, bf16: false };
  backend.kernels.attention([q, q, v, undefined, undefined], [y, lse], causal);
  // scores of the second token: 2·1 and 2·2
  const weight = Math.exp(4) / (Math.exp(2) + Math.exp(4));
  const expected = [10, 10 * (1 - weight) + 20 * weight];
  [...(await backend.read(y))].forEach((value, i) => {
    expect(value).toBeCloseTo(expected[i], 13);
  });
  expect((await backend.read(lse))[1]).toBeCloseTo(Math.log(Math.exp(2) + Math.exp(4)), 13);
});
