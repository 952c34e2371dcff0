import { expect, test } from 'vitest';
import { fuzzForeign } from './fuzz-foreign.ts';

// A seeded portion of the campaign; the whole: npx tsx test/reliability/fuzz-foreign.ts KIND 1000000. PyTorch and GGUF have theirs beside their readers.
test.each([
  ['tensorflow', 3000],
  ['hdf5', 2000],
  ['zip64', 3000],
  ['tfjs', 2000],
  ['tokenizer', 500],
])('%s: of %d mutants each ends in a value or in a typed error, none is slow', (kind, count) => {
  const result = fuzzForeign(kind, count, 7);
  expect(result.firstUntyped).toBeUndefined();
  expect(result.untyped).toBe(0);
  expect(result.legal).toBeGreaterThan(count / 200);
  expect(result.refused).toBeGreaterThan(count / 3);
  expect(result.worstMb).toBeLessThan(50);
});
