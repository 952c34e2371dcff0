import { readdirSync } from 'node:fs';
import { expect, test } from 'vitest';
import { compareEncoder } from './encoders.ts';
import { bounds, goldenRoot } from './golden.ts';

// Golden files by make_encoders.py; the versions of the oracle are in oracle.json beside each.
test.each(readdirSync(goldenRoot('./encoders')))(
  '7.2a %s equals transformers: hidden states and logits ≤ 1e-4, loss ≤ 1e-5, gradients ≤ 1e-3 relative',
  (name) => {
    const row = compareEncoder(name);
    for (const key of ['hidden', 'logits', 'loss', 'gradients'] as const) expect(row[key], key).toBeLessThanOrEqual(bounds[key]);
  },
);
