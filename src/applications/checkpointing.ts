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
import { storedEntries } from '../io/hugging-face.ts';
import { fillTensors } from '../io/fill-tensors.ts';
import { stateDict } from '../nn/index.ts';
import type { Tensor } from '../tensor/index.ts';
import type { AdamW } from '../train/index.ts';
import type { AnyModel, NamedIds } from './model-folder.ts';

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

/** The files of one checkpoint. Tensors are read as they are written, one at a time. */
export function checkpointFiles(
  any: AnyModel,
  optimizer: AdamW,
  state: TrainerState,
  tokenizerJson: string,
  ids: NamedIds,
  others: readonly CheckpointFile[] = [],
): CheckpointFile[] {
  const byFile = new Map<string, [string, Tensor][]>();
  for (const [name, t] of stateDict(any.model)) {
    const { file = 'model.safetensors' } = any.stored(name);
    byFile.set(file, [...(byFile.get(file) ?? []), [name, t]]);
  }
  const weights = [...byFile].map(([file, tensors]) => [file, storedEntries(tensors, any.stored)] as const);
  const moments = storedEntries(optimizer.state(), (name) => ({ name }));
  const writes = { bos_token_id: ids.end ?? null, eos_token_id: ids.end ?? null, max_length: any.contextLength };
  const reads = { decoder_start_token_id: ids.start ?? null, pad_token_id: ids.pad ?? null };
  const generation = { decoder: writes, encoder: undefined, 'encoder-decoder': { ...writes, bos_token_id: undefined, ...reads } }[
    any.kind
  ];
  return [
    { name: 'config.json', bytes: json(any.published(ids)) },
    ...(generation ? [{ name: 'generation_config.json', bytes: json(generation) }] : []),
    { name: 'tokenizer.json', bytes: tokenizerJson },
    ...others,
    ...weights.map(([name, tensors]): CheckpointFile => ({ name, write: (sink) => void writeTensors(sink, tensors) })),
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
