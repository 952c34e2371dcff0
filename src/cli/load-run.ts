/** A run as something that writes: its settings, its tokenizer and its model with the weights of a checkpoint. */
import { join } from 'node:path';
import { loadWeights } from '../io/model-weights.ts';
import { readTokenizer } from '../applications/pretrain.ts';
import { QkvError } from '../errors.ts';
import { findCheckpoint } from '../io/checkpoint.ts';
import { readJson, resolveRun } from '../io/run-folder.ts';
import { buildDecoder } from '../models/index.ts';
import { setPrecision } from '../tensor/index.ts';
import type { Tokenizer } from '../tokenizers/index.ts';
import { resolve, type TrainConfig, type Written } from '../settings/config.ts';
import { chooseBackend } from './machine.ts';

export interface LoadedRun {
  name: string;
  folder: string;
  /** The checkpoint that the weights are from. */
  checkpoint: string;
  step: number;
  config: TrainConfig;
  model: ReturnType<typeof buildDecoder>;
  tokenizer: Tokenizer;
}

/** The settings of a run, from its config.json, checked like any other file. */
export function configOfRun(folder: string): TrainConfig {
  return resolve(writtenIn(folder), []).config;
}

export function writtenIn(folder: string): Written[] {
  const file = join(folder, 'config.json');
  return Object.entries(readJson(file) as Record<string, unknown>).map(([key, value]) => ({ key, value, at: { file, line: 1 } }));
}

/**
 * Loads what `NAME`, a path, `NAME@STEP` or `NAME@best` means: the newest sound checkpoint, or that one.
 * @throws E150, E155 no such run or checkpoint · E180 another tokenizer · what the reader refuses
 */
export function loadRun(
  spec: string,
  { root, backend = null, threads = null }: { root?: string; backend?: string | null; threads?: number | null } = {},
): LoadedRun {
  const { name, folder, step } = resolveRun(spec, { root });
  const found = findCheckpoint(folder, { step });
  if (!found) throw new QkvError('E152', `run "${name}" has no checkpoint yet`, { name });
  const config = configOfRun(folder);
  chooseBackend({ backend, threads: threads ?? config.threads });
  setPrecision(config.precision);
  const path = join(found.folder, 'tokenizer.json');
  const tokenizer = readTokenizer(path);
  const published = readJson(join(found.folder, 'config.json')) as { vocab_size?: number };
  if (published.vocab_size !== tokenizer.vocabSize) {
    throw new QkvError('E180', `the checkpoint expects ${published.vocab_size} entries, ${path} has ${tokenizer.vocabSize}`, {
      expected: published.vocab_size,
      found: tokenizer.vocabSize,
      path,
    });
  }
  const model = buildDecoder(config, tokenizer.vocabSize);
  loadWeights(found.folder, config.model, model);
  return { name, folder, checkpoint: found.folder, step: found.step, config, model, tokenizer };
}
