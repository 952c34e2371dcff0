import { readdirSync } from 'node:fs';
import { expect, test } from 'vitest';
import { compareDecoder } from './decoders.ts';
import { bounds, goldenRoot } from './golden.ts';

// Golden files by make_decoders.py; the versions of the oracle are in oracle.json beside each.
test.each(readdirSync(goldenRoot('./decoders')))(
  '7.2a %s equals transformers: hidden states and logits ≤ 1e-4, loss ≤ 1e-5, gradients ≤ 1e-3 relative, greedy and beam texts',
  async (name) => {
    const row = await compareDecoder(name);
    for (const key of ['hidden', 'logits', 'loss', 'gradients'] as const) expect(row[key], key).toBeLessThanOrEqual(bounds[key]);
    expect(row).toMatchObject({ greedy: true, beams: true });
  },
);
