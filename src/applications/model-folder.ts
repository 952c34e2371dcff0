// A model of any family, and the folder that holds it: made from settings, or read from what we or others have published.

import { loadEncoderDecoder, publishedT5Config, t5StoredAs } from '../io/index.ts';
import { type Family, publishedConfig, type PublishedShape, settingsOfPublished, storedAs } from '../io/hugging-face.ts';
import { bertSettingsOf } from '../io/hugging-face-bert.ts';
import { t5SettingsOf } from '../io/hugging-face-t5.ts';
import { loadPretrained } from '../io/model-weights.ts';
import { readPublishedConfig } from '../io/published.ts';
import {
  buildDecoder,
  ConvTranslator,
  type ConvTranslatorConfig,
  type Decoder,
  type EncoderDecoder,
  RnnTranslator,
  type RnnTranslatorConfig,
  T5,
  Tcn,
  type TcnConfig,
  Transformer,
  type TransformerConfig,
} from '../models/index.ts';
import { dispose, quantise, type WeightPrecision } from '../nn/index.ts';
import { familyOf, type TrainConfig } from '../settings/index.ts';
import { Rng } from '../tensor/index.ts';
import { type AnyModel, type Encoder, filled } from './any-model.ts';
import { loadedEncoder, newEncoder } from './encoder-folder.ts';

export type { AnyModel, NamedIds } from './any-model.ts';

/** A new model with random weights, as the settings say. */
export function buildModel(config: TrainConfig, vocabSize: number): AnyModel {
  const { model: family, objective, seed, nLayer, nHead, dModel, dFF, contextLength, dropout, tied } = config;
  const rng = new Rng(seed);
  const shape = { vocabSize, contextLength, nLayer, nHead, dModel, dFF, dropout };
  switch (family) {
    case 'bert':
    case 'electra':
      return newEncoder(objective, shape, rng);
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
  return { ...shape, normEps: model === 'gpt2' ? 1e-5 : 1e-6 };
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
const encoderTypes = ['bert', 'roberta', 'xlm-roberta', 'camembert', 'distilbert', 'electra'];

/**
 * The model in a folder: one of our checkpoints, or any published one that io/ reads. `dropout` is of the training to come.
 * `strict`: the folder is our own, all weights are f32 and finite.
 * `objective`: what an encoder is asked; its family's own when left out. `seed`: of parts that the folder lacks.
 * `weights`: a decoder that only writes, with its matrices in fewer bits.
 * @throws CheckpointError CONFIG, MODEL_MISMATCH and those of the reader
 */
export function loadModel(
  folder: string,
  {
    dropout = 0,
    labelSmoothing,
    objective = null,
    seed = 0,
    strict = false,
    weights = 'f32',
  }: Partial<Pick<TrainConfig, 'dropout' | 'labelSmoothing' | 'objective' | 'seed'>> & {
    strict?: boolean;
    weights?: WeightPrecision;
  } = {},
): AnyModel {
  const { file, config } = readPublishedConfig(folder);
  const type = String(config['model_type']);
  if (type === 't5' || type === 'mt5') return t5(loadEncoderDecoder(folder, { dropout }).model);
  if (encoderTypes.includes(type)) {
    const possible = familyOf(type === 'electra' ? 'electra' : 'bert').objectives;
    const asked = objective && possible.includes(objective) ? objective : possible[0];
    return loadedEncoder(folder, asked as Encoder['asked'], { dropout, seed });
  }
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
  const any = filled(
    decoder(buildDecoder({ ...settings, seed: 0 }, settings.vocabSize, Rng.none), settings),
    folder,
    undefined,
    weights,
  );
  if (weights !== 'f32') quantise(any.model, weights);
  return any;
}

/** Settings of shape, vocabulary and context of the model in a folder, from its config.json: no weight is read. @throws CheckpointError CONFIG */
export function shapeOfFolder(folder: string): { shape: Partial<TrainConfig>; vocabSize: number; contextLength: number } {
  const { file, config } = readPublishedConfig(folder);
  const any = hollow(String(config['model_type']), config, file);
  const { vocabSize, contextLength } = any;
  const shape = shapeSettings(any);
  dispose(any.model);
  return { shape, vocabSize, contextLength };
}

/** A model whose matrices have no memory yet. */
function hollow(type: string, config: Record<string, unknown>, file: string): AnyModel {
  if (type === 't5' || type === 'mt5') return t5(new T5(t5SettingsOf(config, file).settings, Rng.none));
  if (encoderTypes.includes(type))
    return newEncoder(type === 'electra' ? 'replaced' : 'masked', bertSettingsOf(config, file).settings, Rng.none);
  if (type.startsWith(OWN)) return own(type.slice(OWN.length) as OwnFamily, config['settings'] as OwnShape, Rng.none, 0);
  const settings = settingsOfPublished(config, file);
  return decoder(buildDecoder({ ...settings, seed: 0 }, settings.vocabSize, Rng.none), settings);
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
