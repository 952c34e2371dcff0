// `from=`: a run that begins with the weights, shape and tokenizer of another model.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { QkvError } from '../errors.ts';
import { findCheckpoint } from '../io/index.ts';
import { resolveRun } from '../io/run-folder.ts';
import { type Place, type SettingKey, type TrainConfig, tokenizerKinds } from '../settings/index.ts';
import { shapeOfFolder } from './model-folder.ts';

/** The folder with config.json and weights that `from` means: itself, or the newest sound checkpoint of a run (`RUN`, `RUN@STEP`, `RUN@best`). */
export function fromFolder(from: string): { folder: string } {
  const weights = ['model.safetensors', 'model.safetensors.index.json', 'pytorch_model.bin', 'pytorch_model.bin.index.json'];
  if (weights.some((file) => existsSync(join(from, file)))) return { folder: from };
  try {
    const { folder, step } = resolveRun(from);
    const found = findCheckpoint(folder, { step });
    if (found) return { folder: found.folder };
  } catch (error) {
    if (!(error instanceof QkvError && error.code === 'E150')) throw error;
  }
  throw new QkvError('E114', `from=${from}: no model there`, { path: from, reason: 'none' });
}

/**
 * Peak learning rate of a run that goes on from trained weights, where nobody wrote one: 5e-5·√(768/dModel). A twentieth of what a new model
 * gets: 5e-5 at BERT's 768 channels (Devlin et al. 2018, §A.3: 2e-5 to 5e-5; GPT-1: 6.25e-5), 2.2e-5 at the 4096 of Llama 2 (Touvron et al.
 * 2023, §3.1: 2e-5). Between them ∝ 1/√dModel, as the dial `depth` has it.
 */
export const fineTuningLr = (dModel: number): number => Number((5e-5 * Math.sqrt(768 / dModel)).toPrecision(2));

/**
 * The settings with the shape and the tokenizer of `from`. Settings of shape that a person wrote must agree with it; contextLength may be shorter.
 * @throws E114 no model there, or no tokenizer · E116 another shape was asked for, and those of the reader
 */
export function withFrom(config: TrainConfig, places: ReadonlyMap<string, Place>): TrainConfig {
  if (config.from === null) return config;
  const { folder } = fromFolder(config.from);
  const { shape, vocabSize, contextLength } = shapeOfFolder(folder); // the weights are read once, when the training begins
  for (const [key, value] of Object.entries(shape)) {
    const asked = config[key as SettingKey];
    if (places.has(key) && asked !== value && key !== 'labelSmoothing')
      throw otherShape(key, asked, value, config.from, places.get(key)!);
  }
  const written = places.has('contextLength');
  if (written && config.contextLength > contextLength)
    throw otherShape('contextLength', config.contextLength, contextLength, config.from, places.get('contextLength')!);
  const tokenizer = join(folder, 'tokenizer.json');
  if (!places.has('tokenizer') && !existsSync(tokenizer))
    throw new QkvError('E114', `${folder} has no tokenizer.json`, { path: folder, reason: 'tokenizer' });
  const lr = places.has('lr') ? config.lr : fineTuningLr(shape.dModel ?? config.dModel);
  const labelSmoothing = places.has('labelSmoothing') ? config.labelSmoothing : (shape.labelSmoothing ?? 0);
  return {
    ...config,
    ...shape,
    labelSmoothing,
    ...{ lr, minLr: places.has('minLr') ? config.minLr : Number((lr / 10).toPrecision(12)) },
    contextLength: written ? config.contextLength : contextLength,
    tokenizer: places.has('tokenizer') && !tokenizerKinds.includes(config.tokenizer) ? config.tokenizer : tokenizer,
    vocabSize,
    size: null,
    depth: null,
  };
}

const otherShape = (key: string, asked: unknown, value: unknown, from: string, at: Place): QkvError =>
  new QkvError('E116', `${key}=${String(asked)}, but the model of from=${from} has ${String(value)}`, {
    key,
    asked,
    value,
    from,
    at,
  });
