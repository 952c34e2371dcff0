import type { Context } from '../attention/index.ts';
import { noGrad, scope, type Tensor } from '../tensor/index.ts';

/** Rows of ids with the ids that follow; `targetTokens` of them count. */
export interface EvalBatch {
  inputs: Int32Array;
  targets: Int32Array;
  shape: readonly [B: number, T: number];
  targetTokens: number;
}

export interface LanguageModelScore {
  /** Mean of −ln p(next token). */
  lossNats: number;
  /** e^loss: as many tokens as a uniform guess that is this uncertain would choose from. */
  perplexity: number;
  tokens: number;
}

/** Loss over batches, each weighted by its targets. Stops early, with what it has, when `stop()` says so. */
export async function scoreLanguageModel(
  model: { loss(batch: EvalBatch, ctx?: Context): Tensor },
  batches: Iterable<EvalBatch>,
  { stop = () => false }: { stop?: () => boolean } = {},
): Promise<LanguageModelScore> {
  let nats = 0;
  let tokens = 0;
  for (const batch of batches) {
    nats += (await lossOf(model, batch)) * batch.targetTokens;
    tokens += batch.targetTokens;
    if (stop()) break;
  }
  const lossNats = nats / tokens;
  return { lossNats, perplexity: Math.exp(lossNats), tokens };
}

function lossOf(model: { loss(batch: EvalBatch): Tensor }, batch: EvalBatch): Promise<number> {
  using _ = scope('evaluation');
  return noGrad(() => model.loss(batch)).item();
}

/** Comparable over tokenizers: loss · tokens / (bytes · ln 2). */
export const bitsPerByte = (lossNats: number, tokens: number, bytes: number): number => (lossNats * tokens) / (bytes * Math.LN2);
