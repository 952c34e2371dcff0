import { readdirSync } from 'node:fs';
import { expect, test } from 'vitest';
import { bounds, goldenRoot } from './golden.ts';
import { compareRecurrent } from './recurrent.ts';

const names = readdirSync(goldenRoot('./torch')).filter((name) => !name.startsWith('transformer'));
test.each(names)('9.1a %s equals torch.nn: every state, last states, loss, gradients of input and weights', (name) => {
  const row = compareRecurrent(name);
  for (const key of ['hidden', 'logits', 'loss', 'gradients'] as const) expect(row[key], key).toBeLessThanOrEqual(bounds[key]);
});
