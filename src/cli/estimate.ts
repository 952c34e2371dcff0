/**
 * What a training run will need, from its settings alone: parameters, arithmetic, memory by part, time.
 *
 * C = dModel · L = nLayer · T = contextLength · V = vocabulary · F = dFF · G kv heads · D = head channels · B = batch
 */
import type { TrainConfig } from '../settings/config.ts';

/** Parameters by part. */
export interface Parameters {
  tokenEmbedding: number;
  positionEmbedding: number;
  /** One block. */
  attention: number;
  mlp: number;
  norms: number;
  /** The final norm. */
  norm: number;
  /** The output head, 0 where it is the token embedding. */
  lmHead: number;
  total: number;
}

type Shape = Pick<TrainConfig, 'model' | 'nLayer' | 'nHead' | 'nKvHead' | 'dModel' | 'dFF' | 'contextLength' | 'tied' | 'qkNorm'>;

/** Parameters of a model, counted from its shape. A test holds this to the models themselves. */
export function parametersOf(config: Shape, vocabSize: number): Parameters {
  const { model, nLayer, nHead, nKvHead, dModel: C, dFF: F, contextLength: T, tied, qkNorm } = config;
  const D = C / nHead;
  const gpt2 = model === 'gpt2';
  const parts = gpt2
    ? {
        attention: 3 * C * C + 3 * C + C * C + C,
        mlp: 2 * C * F + F + C,
        norms: 4 * C,
        norm: 2 * C,
      }
    : {
        attention: 2 * C * C + 2 * C * nKvHead * D + (qkNorm ? 2 * D : 0),
        mlp: 3 * C * F,
        norms: 2 * C,
        norm: C,
      };
  const tokenEmbedding = vocabSize * C;
  const positionEmbedding = gpt2 ? T * C : 0;
  const lmHead = tied ? 0 : vocabSize * C;
  const total = tokenEmbedding + positionEmbedding + nLayer * (parts.attention + parts.mlp + parts.norms) + parts.norm + lmHead;
  return { tokenEmbedding, positionEmbedding, ...parts, lmHead, total };
}

/**
 * Floating-point operations of training on one token: 6 for each weight that a token is multiplied with (2 forward, 4 backward), and 12·L·T·C for scores and
 * weighted values, counted without the causal half as is usual (Chowdhery et al. 2022, appendix B). The embedding is a look-up; the head is a product.
 */
export function flopsPerToken(config: Shape, vocabSize: number): number {
  const { nLayer, dModel: C, contextLength: T } = config;
  const p = parametersOf(config, vocabSize);
  return 6 * (nLayer * (p.attention + p.mlp) + vocabSize * C) + 12 * nLayer * T * C;
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
    program: PROGRAM_BYTES + (config.tokenizer === 'bpe' ? BPE_BYTES : 0) + ARENA_SHARE * sum(tensors),
  };
  return { ...parts, total: sum(parts) };
}

/**
 * Numbers that one block keeps for its backward, a token.
 * Both: its input, the norm of it, q k v, what attention gives and its log-sum-exp a head, the sum, the norm of that.
 * gpt2: the MLP's inner values before and after GELU.  llama: gate, up and their product.
 */
function perBlock({ model, dModel: C, nHead, nKvHead, dFF: F }: TrainConfig): number {
  const kv = (C / nHead) * nKvHead;
  return 6 * C + 2 * kv + nHead + (model === 'gpt2' ? 2 * F : 3 * F);
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
