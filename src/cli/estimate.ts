/**
 * What a training run will need, from its settings alone: parameters, arithmetic, memory by part, time.
 *
 * C = dModel · L = nLayer · T = contextLength · V = vocabulary · F = dFF · G kv heads · D = head channels · B = batch
 */
import type { TrainConfig } from '../settings/config.ts';
import { familyOf } from '../settings/families.ts';
import { parametersOf, type Shape, shareOfBlocks } from './parameters.ts';

export { type Parameters, parametersOf } from './parameters.ts';

/**
 * Floating-point operations of training on one token: 6 for each weight that a token is multiplied with (2 forward, 4 backward), and 12·L·T·C for scores and
 * weighted values, counted without the causal half as is usual (Chowdhery et al. 2022, appendix B). The embedding is a look-up; the head is a product.
 * A token of a pair goes through one of the two stacks, and every second one through the head; of a masked text those that are asked.
 */
export function flopsPerToken(config: Shape & { maskRate?: number }, vocabSize: number): number {
  const { nLayer, dModel: C, contextLength: T, model, nExpert, nExpertPerToken } = config;
  const { attention, mlp, lmHead } = parametersOf(config, vocabSize);
  const { kind } = familyOf(model);
  const used = model === 'mixtral' ? (mlp * nExpertPerToken) / nExpert : mlp;
  const head = kind === 'encoder' ? (config.maskRate ?? 0.15) * (lmHead + vocabSize * C) : shareOfBlocks(config) * vocabSize * C;
  const looks = attention === 0 ? 0 : 12 * nLayer * T * C;
  return 6 * (shareOfBlocks(config) * nLayer * (attention + used) + head) + looks;
}

/** Bytes by part while training. */
export interface Memory {
  weights: number;
  gradients: number;
  moments: number;
  activations: number;
  logits: number;
  /** The tensor that a checkpoint is writing. */
  staging: number;
  /** Node, the addon, the heap, what the arena loses to rounding. */
  program: number;
  total: number;
}

/** Resident bytes of Node with the program and the addon at work, beside all tensors. Measured on 12 settings, Node 20, two threads. */
const PROGRAM_BYTES = 95e6;
/** What learning a bpe vocabulary leaves on the heap. */
const BPE_BYTES = 45e6;
/** Share of all tensors that the arena loses to size classes and huge pages. */
const ARENA_SHARE = 0.1;
/** Elements of logits that the fused cross-entropy holds at a time. */
const LOGITS_CHUNK = 1 << 18;

/**
 * Memory of a training step: 16 bytes a parameter in fp32 for weights, gradients and two moments, and what the forward keeps for the backward.
 * The backward frees activations as gradients appear, so a step never holds all of both: `activations` is what their peak needs beyond the room of the gradients.
 */
export function memoryOf(config: TrainConfig, vocabSize: number): Memory {
  const { nLayer, batch, contextLength: T, dModel: C, accumulate } = config;
  const { total: P } = parametersOf(config, vocabSize);
  const tokens = batch * T;
  const weights = 4 * P;
  // Outside the blocks: the embedding, the last norm's input and output, their gradients, and the largest temporary of the backward.
  const kept = 4 * tokens * (nLayer * perBlock(config) + 7 * C);
  const logits = 4 * Math.min(tokens * vocabSize, Math.max(LOGITS_CHUNK, vocabSize));
  const tensors = {
    weights,
    gradients: weights,
    moments: 2 * weights,
    // Gradients that wait for the next micro-batch share their room with nothing.
    activations: accumulate > 1 ? Math.max(kept, weights) : Math.max(0, kept - weights),
    logits,
  };
  const sum = (parts: Record<string, number>) => Object.values(parts).reduce((a, b) => a + b, 0);
  const parts = {
    ...tensors,
    staging: 8 * Math.max(vocabSize * C, C * config.dFF), // one tensor at a time, as the file and as the array
    program:
      PROGRAM_BYTES + (['bpe', 'wordpiece', 'unigram'].includes(config.tokenizer) ? BPE_BYTES : 0) + ARENA_SHARE * sum(tensors),
  };
  return { ...parts, total: sum(parts) };
}

/**
 * Numbers that one block keeps for its backward, a token.
 * All: its input, the norm of it, q k v, what attention gives and its log-sum-exp a head, the sum, the norm of that.
 * Two matrices: the MLP's inner values before and after their activation.  Three: gate, up and their product.
 * A pair of blocks: two of the first, and a look at the source. Cells and convolutions: gates before and after, and what they read.
 */
function perBlock({ model, dModel: C, nHead, nKvHead, dFF: F, cell, width, nExpertPerToken }: TrainConfig): number {
  const kv = (C / nHead) * nKvHead;
  const plain = 6 * C + 2 * kv + nHead;
  switch (model) {
    case 'llama':
    case 'olmo2':
      return plain + 3 * F;
    case 'gemma':
      return plain + 2 * C + 3 * F;
    case 'mixtral':
      return plain + nExpertPerToken * 3 * F;
    case 't5':
    case 'transformer':
      return 2 * (plain + 2 * F) + 5 * C;
    case 'rnn':
      return 6 * { rnn: 1, gru: 3, lstm: 4 }[cell] * C + 6 * C;
    case 'tcn':
      return (2 * width + 6) * C;
    case 'conv':
      return 2 * (width + 6) * C + 6 * C;
    default:
      return plain + 2 * F;
  }
}

/** Seconds for `steps` at a rate of floating-point operations a second. */
export function secondsFor(config: TrainConfig, vocabSize: number, flopsPerSecond: number): number {
  const { steps, batch, accumulate, contextLength, evalEvery, evalBatches } = config;
  const evaluations = evalEvery > 0 ? Math.ceil(steps / evalEvery) : 1;
  const training = steps * batch * accumulate * contextLength;
  const evaluating = (evaluations * evalBatches * batch * contextLength) / 3; // forward only
  return ((training + evaluating) * flopsPerToken(config, vocabSize)) / flopsPerSecond;
}

/** A setting that would make a run fit, with what it would need then. */
export interface Way {
  setting: string;
  bytes: number;
}

/** Settings that bring the memory under `limit`: the largest batch, the longest context, the largest preset below this one. */
export function waysToFit(config: TrainConfig, vocabSize: number, limit: number): Way[] {
  const ways: Way[] = [];
  const tryOut = (setting: string, change: Partial<TrainConfig>) => {
    const bytes = memoryOf({ ...config, ...change }, vocabSize).total;
    if (bytes <= limit) ways.push({ setting, bytes });
    return bytes <= limit;
  };
  for (
    let batch = 2 ** Math.floor(Math.log2(Math.max(1, config.batch - 1)));
    batch >= 1 && config.batch > 1;
    batch = Math.floor(batch / 2)
  )
    if (tryOut(`batch=${batch}`, { batch })) break;
  for (let contextLength = 2 ** Math.floor(Math.log2(config.contextLength - 1)); contextLength >= 16; contextLength /= 2)
    if (tryOut(`contextLength=${contextLength}`, { contextLength })) break;
  for (let nLayer = Math.floor(config.nLayer / 2); nLayer >= 1; nLayer = Math.floor(nLayer / 2))
    if (tryOut(`nLayer=${nLayer}`, { nLayer })) break;
  return ways;
}

/** The part with the most bytes. */
export function largestPart(memory: Memory): [name: Exclude<keyof Memory, 'total'>, bytes: number] {
  const { total: _, ...parts } = memory;
  return Object.entries(parts).sort((a, b) => b[1] - a[1])[0] as [Exclude<keyof Memory, 'total'>, number];
}
