import { Rng } from '../tensor/index.ts';
import type { Decoder } from './decoder.ts';
import { Gemma, type GemmaConfig } from './gemma.ts';
import { GPT2 } from './gpt2.ts';
import { Llama, type LlamaConfig } from './llama.ts';
import { Mixtral, type MixtralConfig } from './mixtral.ts';
import { NeoX, type NeoXConfig } from './neox.ts';
import { Olmo2 } from './olmo2.ts';

/** The settings that decide a decoder's shape; the names are those of the command line. */
export interface DecoderSettings extends DecoderSwitches {
  model: 'gpt2' | 'llama' | 'neox' | 'gemma' | 'olmo2' | 'mixtral';
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

/** What only some of the published configurations set; each family's own file says what it means. */
export type DecoderSwitches = Partial<
  Pick<LlamaConfig, 'headDim' | 'rotaryDim' | 'ropeScaling' | 'noRopeEvery' | 'window' | 'qkvBias'> &
    Pick<NeoXConfig, 'parallel'> &
    Pick<GemmaConfig, 'queryScale' | 'globalEvery' | 'localRopeBase' | 'attnSoftcap' | 'logitSoftcap'> &
    Pick<MixtralConfig, 'nExpert' | 'nExpertPerToken' | 'renormalise' | 'dShared' | 'balanceWeight'>
>;

/** A new decoder with random weights: the same seed gives the same weights. */
export function buildDecoder(
  { model, seed, ...settings }: DecoderSettings,
  vocabSize: number,
  rng = new Rng(seed),
): Decoder & (GPT2 | Llama | NeoX | Gemma | Olmo2 | Mixtral) {
  switch (model) {
    case 'gpt2':
      return new GPT2({ ...settings, vocabSize }, rng);
    case 'llama':
      return new Llama({ ...settings, vocabSize }, rng);
    case 'neox':
      return new NeoX({ ...settings, vocabSize }, rng);
    case 'gemma':
      return new Gemma({ ...settings, window: settings.window ?? settings.contextLength, vocabSize }, rng);
    case 'olmo2':
      return new Olmo2({ ...settings, vocabSize }, rng);
    case 'mixtral':
      return new Mixtral({ nExpert: 8, nExpertPerToken: 2, ...settings, vocabSize }, rng);
  }
}
