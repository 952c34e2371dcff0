// A model of any family, and the folder that holds it: made from settings, or read from what we or others have published.

import { join } from 'node:path';
import { QkvError } from '../errors.ts';
import {
  bertStoredAs,
  fillTensors,
  loadEncoder,
  loadEncoderDecoder,
  publishedBertConfig,
  publishedT5Config,
  t5StoredAs,
} from '../io/index.ts';
import {
  type Family,
  publishedConfig,
  type PublishedShape,
  settingsOfPublished,
  type Stored,
  storedAs,
} from '../io/hugging-face.ts';
import { loadPretrained } from '../io/model-weights.ts';
import { readPublishedConfig } from '../io/published.ts';
import {
  Bert,
  type BertVariant,
  buildDecoder,
  ConvTranslator,
  type ConvTranslatorConfig,
  type Decoder,
  type EncoderDecoder,
  MaskedLM,
  RnnTranslator,
  type RnnTranslatorConfig,
  T5,
  Tcn,
  type TcnConfig,
  Transformer,
  type TransformerConfig,
} from '../models/index.ts';
import { dispose, quantise, smallMatrices, stateDict, type WeightPrecision } from '../nn/index.ts';
import { type FamilyName, familyOf, type TrainConfig } from '../settings/index.ts';
import { Rng } from '../tensor/index.ts';

/** Ids with a meaning: what config.json says of the tokenizer. */
export interface NamedIds {
  /** Ends a text. */
  end?: number;
  pad?: number;
  /** What a decoder is given before its first token. */
  start?: number;
}

type Kinds = { decoder: Decoder; encoder: MaskedLM; 'encoder-decoder': EncoderDecoder };
interface Common {
  family: FamilyName;
  vocabSize: number;
  contextLength: number;
  /** config.json, with the ids that it names. */
  published: (ids: NamedIds) => Record<string, unknown>;
  /** The name and layout of one of our tensors in model.safetensors. */
  stored: (ours: string) => Stored;
}
/** A model with all that its folder needs. */
export type AnyModel = { [K in keyof Kinds]: Common & { kind: K; model: Kinds[K] } }[keyof Kinds];

/** A new model with random weights, as the settings say. */
export function buildModel(config: TrainConfig, vocabSize: number): AnyModel {
  const { model: family, seed, nLayer, nHead, dModel, dFF, contextLength, dropout, tied } = config;
  const rng = new Rng(seed);
  const shape = { vocabSize, contextLength, nLayer, nHead, dModel, dFF, dropout };
  switch (family) {
    case 'bert':
      return encoder(new MaskedLM(new Bert({ ...shape, pooler: false }, rng), rng), 'bert');
    case 't5':
      return t5(new T5({ ...shape, tied }, rng));
    case 'transformer':
    case 'rnn':
    case 'conv':
    case 'tcn':
      return own(family, ownShape(family, config, vocabSize), rng, dropout);
    default: {
      const settings = decoderShape({ ...config, model: family }, vocabSize);
      return decoder(buildDecoder({ ...settings, seed }, vocabSize), settings);
    }
  }
}

/** A decoder's settings as config.json tells them. */
function decoderShape(config: TrainConfig & { model: Family }, vocabSize: number): PublishedShape & { model: Family } {
  const { model, nLayer, nHead, nKvHead, dModel, dFF, contextLength, dropout, tied, qkNorm, ropeBase } = config;
  const shape = { model, vocabSize, nLayer, nHead, nKvHead, dModel, dFF, contextLength, dropout, tied, qkNorm, ropeBase };
  if (model === 'mixtral') return { ...shape, normEps: 1e-6, nExpert: config.nExpert, nExpertPerToken: config.nExpertPerToken };
  if (model === 'gemma') return { ...shape, normEps: 1e-6, window: contextLength };
  // A quarter of each head turns, as in GPT-NeoX; pairs of channels do.
  if (model === 'neox') return { ...shape, normEps: 1e-5, rotaryDim: Math.max(2, 2 * Math.round(dModel / nHead / 8)) };
  return { ...shape, normEps: 1e-6 };
}

const decoder = (model: Decoder, settings: PublishedShape & { model: Family }): AnyModel => ({
  kind: 'decoder',
  family: settings.model,
  model,
  vocabSize: settings.vocabSize,
  contextLength: settings.contextLength,
  published: ({ end }) => publishedConfig(settings.model, settings, end),
  stored: (ours) => storedAs(settings.model, ours, settings),
});

const encoder = (model: MaskedLM, variant: BertVariant): AnyModel => ({
  kind: 'encoder',
  family: 'bert',
  model,
  vocabSize: model.bert.config.vocabSize,
  contextLength: model.bert.config.contextLength,
  published: ({ pad }) => publishedBertConfig(variant, 'maskedLM', model.bert.config, { padId: pad }),
  stored: (ours) => bertStoredAs(variant, 'maskedLM', ours),
});

const t5 = (model: T5): AnyModel => ({
  kind: 'encoder-decoder',
  family: 't5',
  model,
  vocabSize: model.config.vocabSize,
  contextLength: model.config.contextLength,
  published: ({ start, end }) => publishedT5Config(model.config, { startId: start, endId: end }),
  stored: (ours) => t5StoredAs(model.config, ours),
});

// Families without a published layout: our own names, and our own settings in config.json.

type OwnFamily = 'transformer' | 'rnn' | 'conv' | 'tcn';
type OwnShape = TransformerConfig & RnnTranslatorConfig & ConvTranslatorConfig & TcnConfig;

function ownShape(family: OwnFamily, config: TrainConfig, vocabSize: number): OwnShape {
  const { nLayer, nHead, dModel, dFF, contextLength, preNorm, labelSmoothing, cell: kind, attention, width } = config;
  const common = { vocabSize, contextLength, dModel };
  const parts = {
    transformer: { nLayer, nHead, dFF, preNorm, labelSmoothing },
    rnn: { kind, attention },
    conv: { nLayer, width },
    tcn: { nLayer, width },
  };
  return { ...common, ...parts[family] } as OwnShape;
}

function own(family: OwnFamily, shape: OwnShape, rng: Rng, dropout: number): AnyModel {
  const make = { transformer: Transformer, rnn: RnnTranslator, conv: ConvTranslator, tcn: Tcn };
  const model = new make[family]({ ...shape, dropout }, rng);
  const read =
    family === 'tcn' ? { kind: 'decoder', model: model as Tcn } : { kind: 'encoder-decoder', model: model as EncoderDecoder };
  return {
    ...(read as { kind: 'decoder'; model: Decoder } | { kind: 'encoder-decoder'; model: EncoderDecoder }),
    family,
    vocabSize: shape.vocabSize,
    contextLength: model.config.contextLength,
    published: ({ start, end, pad }) => ({
      model_type: `${OWN}${family}`,
      is_encoder_decoder: family !== 'tcn',
      vocab_size: shape.vocabSize,
      decoder_start_token_id: start ?? null,
      eos_token_id: end ?? null,
      pad_token_id: pad ?? null,
      settings: shape,
    }),
    stored: (name) => ({ name }),
  };
}
const OWN = 'qkv_';

/**
 * The model in a folder: one of our checkpoints, or any published one that io/ reads. `dropout` is of the training to come.
 * `strict`: the folder is our own, all weights are f32 and finite.
 * `weights`: a decoder that only writes, with its matrices in fewer bits.
 * @throws CheckpointError CONFIG, MODEL_MISMATCH and those of the reader · QkvError E114 for a family that is not trained here
 */
export function loadModel(
  folder: string,
  {
    dropout = 0,
    labelSmoothing,
    strict = false,
    weights = 'f32',
  }: { dropout?: number; labelSmoothing?: number; strict?: boolean; weights?: WeightPrecision } = {},
): AnyModel {
  const { file, config } = readPublishedConfig(folder);
  const type = String(config['model_type']);
  if (type === 't5' || type === 'mt5') return t5(loadEncoderDecoder(folder, { dropout }).model);
  if (['bert', 'roberta', 'xlm-roberta', 'camembert', 'distilbert'].includes(type)) {
    const { model, variant } = loadEncoder(folder, { task: 'maskedLM', dropout });
    return encoder(model, variant);
  }
  if (type === 'electra')
    throw new QkvError('E114', `${folder} is an ELECTRA discriminator; masked training needs BERT, RoBERTa or DistilBERT`, {
      path: folder,
      reason: 'electra',
    });
  if (type.startsWith(OWN)) {
    const family = type.slice(OWN.length) as OwnFamily;
    const settings = { ...(config['settings'] as OwnShape), ...(labelSmoothing === undefined ? {} : { labelSmoothing }) };
    return filled(own(family, settings, new Rng(0), dropout), folder);
  }
  if (!strict) {
    const { model, settings } = loadPretrained(folder, { dropout, weights });
    return decoder(model, settings);
  }
  const settings = { ...settingsOfPublished(config, file), dropout };
  const any = filled(decoder(buildDecoder({ ...settings, seed: 0 }, settings.vocabSize, Rng.none), settings), folder, weights);
  if (weights !== 'f32') quantise(any.model, weights);
  return any;
}

/** Weights of a folder of ours: f32, finite, under the names that `stored` gives. */
function filled(any: AnyModel, folder: string, weights: WeightPrecision = 'f32'): AnyModel {
  try {
    const wanted = [...stateDict(any.model)].map(([name, t]) => ({ t, ...any.stored(name) }));
    fillTensors(join(folder, 'model.safetensors'), wanted, { strict: true, small: smallMatrices(any.model, weights) });
    return any;
  } catch (error) {
    dispose(any.model);
    throw error;
  }
}

/** The settings of shape that a model has, for the run's config.json: what describe, estimate and trace go by. */
export function shapeSettings(any: AnyModel): Partial<TrainConfig> {
  const config = (any.kind === 'encoder' ? any.model.bert.config : any.model.config) as unknown as Record<string, unknown>;
  const keys = [
    'nLayer', 'nHead', 'nKvHead', 'dModel', 'dFF', 'tied', 'qkNorm', 'ropeBase', 'preNorm', 'labelSmoothing', 'nExpert', 'nExpertPerToken',
    'attention', 'width',
  ] as const; // biome-ignore format: a list of words
  const found = Object.fromEntries(keys.filter((key) => config[key] !== undefined).map((key) => [key, config[key]]));
  const { has } = familyOf(any.family);
  const cell = has.includes('cell') ? { cell: config['kind'] as TrainConfig['cell'] } : {};
  return { model: any.family, ...found, ...cell };
}
