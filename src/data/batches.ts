/**
 * Batches as a pure function of (seed, cursor): nothing is remembered between two of them, so a resume needs one integer.
 *
 * The cursor counts consumed samples since the start of training, over all epochs, accumulation steps and ranks. A batch at cursor c holds samples
 * c … c+B−1. On another batch size or world size the same order goes on, without a repeat or a gap.
 */
// B batch · T tokens · N samples in an epoch
import { tooShort } from './errors.ts';
import { permuted, uniformAt } from './order.ts';
import type { TokenStream } from './tokens.ts';

/** What a training step sees. `targets` are `inputs` one token later; a target that is not to be predicted is `ignoreIndex`. */
export interface Batch {
  /** (B, T) ids, row-major. */
  inputs: Int32Array;
  /** (B, T) ids, row-major. */
  targets: Int32Array;
  shape: [B: number, T: number];
  /** Where each row begins in the stream: names the documents of a batch that went wrong. */
  starts: number[];
  /** Targets that count: B · T less the ignored ones. */
  targetTokens: number;
}

/** A target that no loss counts. */
export const IGNORE_INDEX = -100;

export interface BatchOptions {
  batchSize: number;
  contextLength: number;
  seed: number;
  /**
   * `random`: each sample is a window at a uniformly random token, drawn anew (nanoGPT's loader).
   * `epoch`: the stream is cut into windows that do not overlap; each epoch takes every one of them once, in an order of its own. The at most T tokens behind the last whole window are left out.
   */
  order?: 'random' | 'epoch';
  /** Named in the error when the stream is too short. */
  split?: string;
}

/** Batches of a stream, found by cursor. */
export interface Batches {
  /** Samples in an epoch: windows (`epoch`), or as many draws as it takes to see as many tokens as the stream has (`random`). */
  readonly samplesPerEpoch: number;
  /** The first token of the sample at this cursor. */
  startOf(cursor: number): number;
  /** The batch of samples cursor … cursor+B−1. */
  at(cursor: number, batchSize?: number): Batch;
  /** Batches from a cursor on, without end. */
  from(cursor: number): Generator<Batch, never>;
}

/** Training batches of a stream. Throws E135 when the stream holds no window of contextLength + 1 tokens. */
export function createBatches(
  stream: TokenStream,
  { batchSize, contextLength: T, seed, order = 'random', split = 'training' }: BatchOptions,
): Batches {
  for (const [name, value] of Object.entries({ batchSize, contextLength: T })) {
    if (!(Number.isSafeInteger(value) && value > 0))
      throw new RangeError(`batches: ${name}=${value} must be a whole number above 0`);
  }
  if (!Number.isSafeInteger(seed)) throw new RangeError(`batches: seed=${seed} must be a whole number`);
  if (stream.length < T + 1) throw tooShort(split, stream.length, T);
  const windows = Math.floor((stream.length - 1) / T); // a window's last target lies one token behind it
  const offsets = stream.length - T;

  const startOf = (cursor: number): number => {
    if (!(Number.isSafeInteger(cursor) && cursor >= 0))
      throw new RangeError(`batches: cursor ${cursor} must be a whole number from 0 on`);
    return order === 'random'
      ? uniformAt(seed, cursor, offsets)
      : permuted(seed, Math.floor(cursor / windows), cursor % windows, windows) * T;
  };
  const at = (cursor: number, B = batchSize): Batch =>
    windowsAt(
      stream,
      Array.from({ length: B }, (_, row) => startOf(cursor + row)),
      T,
    );

  return {
    samplesPerEpoch: order === 'random' ? Math.ceil(stream.length / T) : windows,
    startOf,
    at,
    *from(cursor) {
      for (;;) {
        yield at(cursor);
        cursor += batchSize;
      }
    },
  };
}

/** The windows of T tokens that begin at `starts`, with their targets. */
function windowsAt(stream: TokenStream, starts: number[], T: number): Batch {
  const B = starts.length;
  const inputs = new Int32Array(B * T);
  const targets = new Int32Array(B * T);
  const window = new Int32Array(T + 1);
  for (let b = 0; b < B; b++) {
    stream.readInto(window, 0, starts[b], T + 1);
    inputs.set(window.subarray(0, T), b * T);
    targets.set(window.subarray(1), b * T);
  }
  return { inputs, targets, shape: [B, T], starts, targetTokens: B * T };
}

export interface EvalOptions {
  batchSize: number;
  contextLength: number;
  /** At most this many windows, spread evenly over the stream. Default: all. */
  maxWindows?: number;
  ignoreIndex?: number;
  split?: string;
}

/**
 * Evaluation batches: always the same, in stream order. Without `maxWindows` each token but the first is a target exactly once: windows do not overlap, and one last
 * window that ends with the stream has the targets that were already counted set to `ignoreIndex`. So Σ loss ÷ bytes of the split is bits per byte (× log₂e).
 * The last batch may have fewer rows. Throws E135 like `createBatches`.
 */
export function* evalBatches(
  stream: TokenStream,
  {
    batchSize,
    contextLength: T,
    maxWindows = Number.POSITIVE_INFINITY,
    ignoreIndex = IGNORE_INDEX,
    split = 'validation',
  }: EvalOptions,
): Generator<Batch, void> {
  if (stream.length < T + 1) throw tooShort(split, stream.length, T);
  const whole = Math.floor((stream.length - 1) / T);
  const rest = stream.length - 1 - whole * T; // targets behind the last whole window
  const all = maxWindows >= whole + (rest > 0 ? 1 : 0);
  const windows = all ? whole + (rest > 0 ? 1 : 0) : Math.max(1, Math.floor(maxWindows));
  const startOf = (w: number) => (all ? Math.min(w * T, stream.length - 1 - T) : Math.floor((w * whole) / windows) * T);

  for (let w = 0; w < windows; w += batchSize) {
    const B = Math.min(batchSize, windows - w);
    const batch = windowsAt(
      stream,
      Array.from({ length: B }, (_, row) => startOf(w + row)),
      T,
    );
    if (all && rest > 0 && w + B === windows) {
      batch.targets.fill(ignoreIndex, (B - 1) * T, B * T - rest);
      batch.targetTokens -= T - rest;
    }
    yield batch;
  }
}
