import { Rng } from '../tensor/index.ts';
import type { Decoder } from './decoder.ts';
import { GPT2 } from './gpt2.ts';
import { Llama } from './llama.ts';

/** The settings that decide a decoder's shape; the names are those of the command line. */
export interface DecoderSettings {
  model: 'gpt2' | 'llama';
  nLayer: number;
  nHead: number;
  nKvHead: number;
  dModel: number;
  dFF: number;
  contextLength: number;
  dropout: number;
  tied: boolean;
  qkNorm: boolean;
  ropeBase: number;
  normEps?: number;
  seed: number;
}

/** A new decoder with random weights: the same seed gives the same weights. */
export function buildDecoder({ model, seed, ...settings }: DecoderSettings, vocabSize: number): Decoder & (GPT2 | Llama) {
  const rng = new Rng(seed);
  return model === 'gpt2' ? new GPT2({ ...settings, vocabSize }, rng) : new Llama({ ...settings, vocabSize }, rng);
}
