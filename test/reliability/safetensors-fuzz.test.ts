import { expect, test } from 'vitest';
import { fuzzSafetensors } from './fuzz-safetensors.ts';

test('200,000 mutated files: no untyped error, no slow answer, no growth of memory', () => {
  const result = fuzzSafetensors(200_000, 20260); // the full million: npx tsx test/reliability/fuzz-safetensors.ts
  expect(result.firstUntyped).toBeUndefined();
  expect(result.untyped).toBe(0);
  expect(result.legal).toBeGreaterThan(2_000); // the mutants are not all so broken that nothing is judged
  expect(Object.keys(result.codes).length).toBeGreaterThanOrEqual(16);
  expect(result.worstMs).toBeLessThan(100);
  expect(result.worstMb).toBeLessThan(50);
  expect(result.heldMb).toBeLessThan(10); // 50 bytes a mutant
});
