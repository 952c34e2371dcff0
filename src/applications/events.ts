import type { Manifest, Progress } from '../data/index.ts';

/** What an evaluation measured on data that is never trained on. */
export interface Score {
  /** Mean of −ln p(what was asked). */
  lossNats: number;
  /** e^loss: as many tokens as a uniform guess that is this uncertain would choose from. */
  perplexity: number;
  /** Tokens that were asked. */
  tokens: number;
  /** Of text that is read on: bits a byte of it, comparable over tokenizers. */
  bitsPerByte?: number;
  /** The share of the questions that the first guess got right: masked tokens, the targets of sources. */
  accuracy?: number;
  /** Targets that a source could choose from. */
  candidates?: number;
  /** The share of second halves of which it was known whether they follow. */
  nextAccuracy?: number;
  /** Of replaced tokens: 2·found / (2·found + missed + real ones suspected). */
  f1?: number;
}

/** What happens while a run trains, for whoever shows it. The log holds the same. */
export type TrainEvent =
  | { type: 'tokenizer'; kind: string; merges: number; of: number }
  | { type: 'data'; progress: Progress | { kind: 'pairs'; pairs: number; skipped: number } }
  | {
      type: 'start';
      run: string;
      folder: string;
      /** Step to begin with: 0, or where the checkpoint stands. */
      step: number;
      parameters: number;
      vocabSize: number;
      trainTokens: number;
      valTokens: number;
      /** Of text. */
      data?: Manifest;
      /** Of pairs: how many there are, and how many were too long. */
      pairs?: { train: number; val: number; skipped: number };
      /** The loss of a uniform guess: ln V where a token is asked. */
      uniformLossNats: number;
      backend: string;
      /** Checkpoints that a resume passed over, and why. */
      skipped: { folder: string; why: string }[];
    }
  | {
      type: 'step';
      step: number;
      steps: number;
      lossNats: number;
      gradNorm: number;
      lr: number;
      /** Tokens of this step, without padding. */
      tokens: number;
      /** Tokens of this step ÷ its time, evaluation and saving left out. */
      tokensPerSecond: number;
      /** Since this process began to train. */
      elapsedSeconds: number;
      remainingSeconds: number;
    }
  | ({ type: 'eval'; step: number; trainLossNats: number; valLossNats: number; best: boolean } & Omit<
      Score,
      'lossNats' | 'tokens'
    >)
  | { type: 'sample'; step: number; prompt: string; text: string }
  | { type: 'checkpoint'; step: number; folder: string; bytes: number; best: boolean; durable: boolean }
  | { type: 'warning'; code: string; message: string; values: Record<string, unknown> }
  | {
      type: 'end';
      status: 'done' | 'stopped';
      step: number;
      run: string;
      folder: string;
      seconds: number;
      tokens: number;
      tokensPerSecond: number;
      best?: { step: number; lossNats: number };
      lastLossNats: number;
      firstLossNats: number;
      peakTensorBytes: number;
    };
