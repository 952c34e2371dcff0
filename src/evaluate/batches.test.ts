import { expect, test } from 'vitest';
import { Tensor } from '../tensor/index.ts';
import { scoreBatches } from './batches.ts';

const batches = [
  { nats: 1, targetTokens: 3 },
  { nats: 5, targetTokens: 1 },
  { nats: 100, targetTokens: 7 },
];
const loss = ({ nats }: { nats: number }) => Tensor.from([nats], [1]).sum();

test('each batch counts by its targets: (1·3 + 5·1) / 4 nats; perplexity is e to that', async () => {
  const score = await scoreBatches(loss, batches.slice(0, 2));
  expect(score).toEqual({ lossNats: 2, perplexity: Math.exp(2), tokens: 4 });
});

test('stopped early, the score is that of the batches so far', async () => {
  const seen: number[] = [];
  const score = await scoreBatches(loss, batches, { stop: () => seen.length === 2, onBatch: (done) => void seen.push(done) });
  expect(score.lossNats).toBe(2);
  expect(seen).toEqual([1, 2]);
});
