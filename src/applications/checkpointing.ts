// What a training run's checkpoint holds, and how it comes back: a Hugging Face folder with the optimizer and the trainer's place beside it.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  CheckpointError,
  type CheckpointFile,
  parseStrictJson,
  toPlain,
  writeSafetensorsTo as writeTensors,
} from '../io/index.ts';
import { type Family, publishedConfig, storedAs, storedBytes } from '../io/hugging-face.ts';
import { fillTensors } from '../io/model-weights.ts';
import type { Decoder } from '../models/index.ts';
import { stateDict } from '../nn/index.ts';
import type { Tensor } from '../tensor/index.ts';
import type { AdamW } from '../train/index.ts';
import type { TrainConfig } from '../settings/config.ts';

/** Where a run stands after `step` updates. Everything else follows from the settings: batches, masks and schedule are functions of the step. */
export interface TrainerState {
  format: 1;
  /** Updates made; the next step has this number. */
  step: number;
  /** Samples consumed. */
  cursor: number;
  tokens: number;
  best?: { step: number; lossNats: number };
}

const entry = (name: string, t: Tensor, transposed = false) => ({
  name,
  dtype: 'F32' as const,
  shape: transposed ? [t.shape[1], t.shape[0]] : t.shape,
  bytes: () => storedBytes(t, transposed),
});

/** The files of one checkpoint. Tensors are read as they are written, one at a time. */
export function checkpointFiles(
  config: TrainConfig,
  model: Decoder,
  optimizer: AdamW,
  state: TrainerState,
  tokenizerJson: string,
  endOfText?: number,
): CheckpointFile[] {
  const family: Family = config.model;
  const shape = { ...config, vocabSize: model.config.vocabSize, normEps: 1e-6 };
  const weights = [...stateDict(model)].map(([name, t]) => {
    const { name: stored, transposed } = storedAs(family, name);
    return entry(stored, t, transposed);
  });
  const moments = [...optimizer.state()].map(([name, t]) => entry(name, t));
  return [
    { name: 'config.json', bytes: json(publishedConfig(family, shape, endOfText)) },
    {
      name: 'generation_config.json',
      bytes: json({ bos_token_id: endOfText ?? null, eos_token_id: endOfText ?? null, max_length: config.contextLength }),
    },
    { name: 'tokenizer.json', bytes: tokenizerJson },
    { name: 'model.safetensors', write: (sink) => void writeTensors(sink, weights) },
    { name: 'optimizer.safetensors', write: (sink) => void writeTensors(sink, moments) },
    { name: 'trainer.json', bytes: json(state) },
  ];
}
const json = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;

/** Moments and place. The optimizer's count of updates is the trainer's step. */
export function loadTrainer(folder: string, optimizer: AdamW): TrainerState {
  const path = join(folder, 'optimizer.safetensors');
  fillTensors(
    path,
    [...optimizer.state()].map(([name, t]) => ({ t, name, nonNegative: name.startsWith('v.') })),
    { strict: true },
  );
  const file = join(folder, 'trainer.json');
  const state = toPlain(parseStrictJson(readFileSync(file), { file })) as TrainerState;
  const counts = [state.step, state.cursor, state.tokens];
  if (state.format !== 1)
    throw new CheckpointError('VERSION', file, `format ${state.format}; this program reads 1`, 'Use a newer qkv');
  if (!counts.every((n) => Number.isSafeInteger(n) && n >= 0))
    throw new CheckpointError('STATE', file, `step, cursor and tokens must be whole numbers ≥ 0, not ${counts.join(', ')}`);
  optimizer.t = state.step;
  return state;
}
