// A model of any family as everything else sees it: what it is, what it is asked, how its folder names its tensors.

import { join } from 'node:path';
import { fillTensors } from '../io/index.ts';
import type { Stored } from '../io/hugging-face.ts';
import type { BertPretraining, Decoder, Electra, EncoderDecoder, MaskedLM, SentenceEncoder } from '../models/index.ts';
import { dispose, smallMatrices, stateDict, type WeightPrecision } from '../nn/index.ts';
import type { FamilyName } from '../settings/index.ts';

/** Ids with a meaning: what config.json says of the tokenizer. */
export interface NamedIds {
  /** Ends a text. */
  end?: number;
  pad?: number;
  /** What a decoder is given before its first token. */
  start?: number;
}

type Kinds =
  | { kind: 'decoder'; model: Decoder }
  | { kind: 'encoder-decoder'; model: EncoderDecoder }
  | ({ kind: 'encoder' } & Encoder);
/** An encoder with what it is asked while it trains. */
export type Encoder =
  | { asked: 'masked'; model: MaskedLM }
  | { asked: 'nextSentence'; model: BertPretraining }
  | { asked: 'replaced'; model: Electra }
  | { asked: 'contrastive'; model: SentenceEncoder };
interface Common {
  family: FamilyName;
  vocabSize: number;
  contextLength: number;
  /** config.json, with the ids that it names. */
  published: (ids: NamedIds) => Record<string, unknown>;
  /** The name and layout of one of our tensors, and its file, model.safetensors when left out. */
  stored: (ours: string) => Stored & { file?: typeof GENERATOR };
}
/** What ELECTRA needs to go on with its training, and nobody to use it. */
export const GENERATOR = 'generator.safetensors';

/** A model with all that its folder needs. */
export type AnyModel = Common & Kinds;

/** Weights of a folder of ours: f32, finite, under the names that `stored` gives. */
export function filled(any: AnyModel, folder: string, file?: typeof GENERATOR, weights: WeightPrecision = 'f32'): AnyModel {
  try {
    const wanted = [...stateDict(any.model)].map(([name, t]) => ({ t, ...any.stored(name) })).filter((w) => w.file === file);
    fillTensors(join(folder, file ?? 'model.safetensors'), wanted, { strict: true, small: smallMatrices(any.model, weights) });
    return any;
  } catch (error) {
    dispose(any.model);
    throw error;
  }
}
