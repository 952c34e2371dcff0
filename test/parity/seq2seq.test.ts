import { readdirSync } from 'node:fs';
import { expect, test } from 'vitest';
import { bounds, goldenRoot } from './golden.ts';
import { compareT5, compareTransformer } from './seq2seq.ts';

// Golden files by make_seq2seq.py and make_torch.py; the versions of the oracle are in oracle.json beside each.
const models = [
  ...readdirSync(goldenRoot('./seq2seq')).map((name) => ({ name, oracle: 'transformers', compare: compareT5 })),
  ...['transformer-post-norm', 'transformer-pre-norm'].map((name) => ({ name, oracle: 'torch.nn', compare: compareTransformer })),
];
test.each(models)(
  '7.2a $name equals $oracle: hidden states and logits ≤ 1e-4, loss ≤ 1e-5, gradients ≤ 1e-3 relative, greedy texts, beams',
  async ({ name, compare }) => {
    const row = await compare(name);
    for (const key of ['hidden', 'logits', 'loss', 'gradients'] as const) expect(row[key], key).toBeLessThanOrEqual(bounds[key]);
    expect(row).toMatchObject({ greedy: true, beams: true });
  },
);
