import type { Context } from '../../attention/index.ts';
import type { Manifest } from '../../data/index.ts';
import type { Tensor } from '../../tensor/index.ts';
import type { Score } from '../events.ts';

export interface EvaluateOptions {
  /** Micro-batches at most, spread evenly; all of them when left out. */
  batches?: number;
  stop?: () => boolean;
  /** Told after each micro-batch, with how many there are. */
  onBatch?: (done: number, of: number) => void | Promise<void>;
}

/** What a model is asked, with the data for it: all that the trainer knows of either. */
// biome-ignore lint/suspicious/noExplicitAny: a batch is made by `at` and read by `loss` of the same task; nobody else looks inside
export interface Task<Batch = any> {
  readonly trainTokens: number;
  readonly valTokens: number;
  /** Of text. */
  readonly manifest?: Manifest;
  /** Of pairs. */
  readonly pairs?: { train: number; val: number; skipped: number };
  /** What a model that knows nothing loses; ln V when left out. */
  readonly uniformLossNats?: number;
  /** Micro-batch number m: a pure function, so that a resumed run sees what the uninterrupted one would have seen. */
  at(m: number): Batch;
  /** Tokens in a batch, without padding. */
  tokensIn(batch: Batch): number;
  /** Mean loss of a batch, in nats a token that is asked. */
  loss(batch: Batch, ctx: Context): Tensor;
  /** On the validation data. */
  evaluate(options?: EvaluateOptions): Promise<Score>;
  /** What the model makes of a piece of validation data (or of `prompt`); the same for the same seed. */
  sample(options: { seed: number; maxTokens: number; prompt?: string }): Promise<{ prompt: string; text: string } | undefined>;
  close(): void;
}
