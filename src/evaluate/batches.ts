import { noGrad, scope, type Tensor } from '../tensor/index.ts';

export interface BatchScore {
  /** Mean of −ln p over everything that was asked. */
  lossNats: number;
  /** e^loss: as many tokens as a uniform guess that is this uncertain would choose from. */
  perplexity: number;
  /** Tokens that were asked. */
  tokens: number;
}

/**
 * Loss over batches, each weighted by its targets. `onBatch` is told how many are done, and may wait; `stop()` ends it early, with what it has.
 */
export async function scoreBatches<Batch extends { targetTokens: number }>(
  loss: (batch: Batch) => Tensor,
  batches: Iterable<Batch>,
  { stop = () => false, onBatch }: { stop?: () => boolean; onBatch?: (done: number) => void | Promise<void> } = {},
): Promise<BatchScore> {
  let [nats, tokens, done] = [0, 0, 0];
  for (const batch of batches) {
    nats += (await lossOf(loss, batch)) * batch.targetTokens;
    tokens += batch.targetTokens;
    await onBatch?.(++done);
    if (stop()) break;
  }
  const lossNats = nats / tokens;
  return { lossNats, perplexity: Math.exp(lossNats), tokens };
}

function lossOf<Batch>(loss: (batch: Batch) => Tensor, batch: Batch): Promise<number> {
  using _ = scope('evaluation');
  return noGrad(() => loss(batch)).item();
}
