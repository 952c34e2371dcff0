// How far back can a model look? It reads symbols and writes them again; the longer the text, the further each symbol is from its copy.
// n symbols · lag = n: between a symbol and its copy stand the rest of the source and the copies before it

import { noGrad, Rng, scope } from '../tensor/index.ts';
import { type EncoderDecoder, type PairBatch, pairLogits } from '../models/index.ts';
import { dispose, stateDict } from '../nn/index.ts';
import type { TrainConfig } from '../settings/index.ts';
import { AdamW, cosine, train } from '../train/index.ts';
import { buildModel } from './model-folder.ts';

export interface CopyLagOptions {
  steps?: number;
  batch?: number;
  /** Symbols to copy; a guess is right once in so many. */
  symbols?: number;
  /** Texts of 1 … this length are trained on. */
  longest?: number;
  lags?: readonly number[];
  /** Texts of each length that are measured. */
  measured?: number;
  seed?: number;
  onStep?: (step: number, lossNats: number) => void | Promise<void>;
}

/** Share of the symbols that are copied right, at one lag. */
export interface LagAccuracy {
  lag: number;
  accuracy: number;
}

export const defaultLags = [1, 2, 4, 8, 12, 16, 24, 32] as const;

/** 0 pads, 1 ends; symbols follow. */
const [PAD, END, FIRST] = [0, 1, 2];

/** B texts of n random symbols, to be copied. */
function copies(B: number, n: number, symbols: number, rng: Rng): PairBatch {
  const T = n + 1;
  const source = new Int32Array(B * T);
  const inputs = new Int32Array(B * T);
  for (let b = 0; b < B; b++) {
    for (let i = 0; i < n; i++) source[b * T + i] = FIRST + rng.int(symbols);
    source[b * T + n] = END;
    inputs[b * T] = PAD;
    inputs.set(source.subarray(b * T, b * T + n), b * T + 1);
  }
  return { source, sourceShape: [B, T], inputs, targets: source.slice(), shape: [B, T] };
}

/**
 * Trains a model of the shape in `config` to copy, and measures the share of symbols that are right at each lag. The symbols are random: knowing the ones
 * before (they are given, as in training) helps nobody. Lags beyond `longest` show what was learned beyond its examples.
 */
export async function copyLagCurve(
  config: TrainConfig,
  {
    steps = 300,
    batch = 32,
    symbols = 16,
    longest = 16,
    lags = defaultLags,
    measured = 64,
    seed = 1,
    onStep,
  }: CopyLagOptions = {},
): Promise<LagAccuracy[]> {
  const contextLength = 1 + Math.max(longest, ...lags);
  const any = buildModel({ ...config, contextLength, dropout: 0, seed }, FIRST + symbols);
  const model = any.model as EncoderDecoder;
  const optimizer = new AdamW(stateDict(model), { weightDecay: 0 });
  try {
    const lengthOf = new Rng(seed);
    const loop = train(model, {
      steps,
      batch: (step) => copies(batch, 1 + lengthOf.int(longest), symbols, new Rng(new Rng(seed + 0x3a5c * (step + 1)).fork())),
      loss: (b) => model.loss(b),
      optimizer,
      schedule: cosine({ peak: 3e-3, final: 3e-4, warmup: Math.min(50, Math.floor(steps / 10)), steps }),
      clip: 1,
    });
    for await (const { step, lossNats } of loop) await onStep?.(step + 1, lossNats);
    const curve: LagAccuracy[] = [];
    for (const lag of lags)
      curve.push({ lag, accuracy: await accuracyAt(model, copies(measured, lag, symbols, new Rng(seed + lag))) });
    return curve;
  } finally {
    optimizer.dispose();
    dispose(model);
  }
}

async function accuracyAt(model: EncoderDecoder, batch: PairBatch): Promise<number> {
  const guesses = guess(model, batch);
  const best = (await guesses) as Int32Array;
  const [B, T] = batch.shape;
  let right = 0;
  for (let b = 0; b < B; b++) for (let i = 0; i < T - 1; i++) if (best[b * T + i] === batch.targets[b * T + i]) right++;
  return right / (B * (T - 1));
}

function guess(model: EncoderDecoder, batch: PairBatch) {
  using _ = scope('copy lag');
  return noGrad(() => pairLogits(model, batch).argmax()).read();
}
