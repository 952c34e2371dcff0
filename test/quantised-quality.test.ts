// Fewer bits a weight must cost no more than docs/performance.md says: a small model is trained on a book and scored on its last tenth.
import { expect, test } from 'vitest';
import { measureQuality } from './quantised-quality.ts';

test('bits per byte: bf16 and int8 within 0.1 %, int4 within 3 %, keys and values of eight bits within 0.1 %', {
  timeout: 60_000,
}, async () => {
  const { bitsPerByte } = await measureQuality({
    nLayer: 2,
    nHead: 2,
    dModel: 64,
    contextLength: 64,
    batchSize: 16,
    steps: 150,
    scored: 20_000,
  });
  const worse = (kind: string): number => bitsPerByte[kind] / bitsPerByte.f32 - 1;
  expect(bitsPerByte.f32).toBeLessThan(4); // it has learned something that rounding could spoil
  expect(Math.abs(worse('bf16'))).toBeLessThan(0.001);
  expect(Math.abs(worse('int8'))).toBeLessThan(0.001);
  expect(worse('int4')).toBeLessThan(0.03);
  expect(Math.abs(worse('kv int8'))).toBeLessThan(0.001);
});
