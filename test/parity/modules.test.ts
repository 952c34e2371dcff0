import { readdirSync } from 'node:fs';
import { expect, test } from 'vitest';
import { bounds, goldenRoot } from './golden.ts';
import { compareMixture, compareRecurrent } from './modules.ts';

const names = readdirSync(goldenRoot('./torch')).filter((name) => /^(rnn|gru|lstm)/.test(name));
test.each(names)('9.1a %s equals torch.nn: every state, last states, loss, gradients of input and weights', (name) => {
  const row = compareRecurrent(name);
  for (const key of ['hidden', 'logits', 'loss', 'gradients'] as const) expect(row[key], key).toBeLessThanOrEqual(bounds[key]);
});

test("2.3.3 a mixture of experts equals Mixtral's: output, balance loss, gradients of input, router and experts", () => {
  const row = compareMixture();
  for (const key of ['hidden', 'logits', 'loss', 'gradients'] as const) expect(row[key], key).toBeLessThanOrEqual(bounds[key]);
});
