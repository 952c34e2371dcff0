import { readdirSync } from 'node:fs';
import { expect, test } from 'vitest';
import { bounds, goldenRoot } from './golden.ts';
import { compareSeq2Seq } from './seq2seq.ts';

// Golden files by make_seq2seq.py; the versions of the oracle are in oracle.json beside each.
test.each(readdirSync(goldenRoot('./seq2seq')))(
  '7.2a %s equals transformers: hidden states and logits ≤ 1e-4, loss ≤ 1e-5, gradients ≤ 1e-3 relative, greedy tokens',
  async (name) => {
    const row = await compareSeq2Seq(name);
    for (const key of ['hidden', 'logits', 'loss', 'gradients'] as const) expect(row[key], key).toBeLessThanOrEqual(bounds[key]);
    expect(row.greedy).toBe(true);
  },
);
