/** A run as something that writes: its settings, its tokenizer and its model with the weights of a checkpoint. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type AnyModel, loadModel } from '../applications/model-folder.ts';
import { readTokenizer } from '../applications/tokenizer.ts';
import { QkvError } from '../errors.ts';
import { findCheckpoint } from '../io/checkpoint.ts';
import { readJson, resolveRun } from '../io/run-folder.ts';
import type { Decoder } from '../models/index.ts';
import { dispose, type WeightPrecision } from '../nn/index.ts';
import { resolve, type TrainConfig, type Written } from '../settings/config.ts';
import { familyOf } from '../settings/families.ts';
import { setPrecision } from '../tensor/index.ts';
import type { Tokenizer } from '../tokenizers/index.ts';
import { chooseBackend } from './machine.ts';
import type { Output } from './output.ts';

interface Loaded {
  name: string;
  folder: string;
  /** The checkpoint that the weights are from. */
  checkpoint: string;
  step: number;
  config: TrainConfig;
  tokenizer: Tokenizer;
  /** Ids that end a text, as generation_config.json of an imported model says. */
  endIds: number[];
}
/** A run whose model writes on. */
export interface LoadedRun extends Loaded {
  model: Decoder;
}
/** A run with a model of any family. */
export interface LoadedAny extends Loaded {
  any: AnyModel;
}

/** The settings of a run, from its config.json, checked like any other file. */
export function configOfRun(folder: string): TrainConfig {
  const { config } = resolve(writtenIn(folder), [], { needData: false }); // an imported model has none
  // Runs from before there were objectives did what their family does.
  return { ...config, objective: config.objective ?? familyOf(config.model).objectives[0] };
}

export function writtenIn(folder: string): Written[] {
  const file = join(folder, 'config.json');
  return Object.entries(readJson(file) as Record<string, unknown>).map(([key, value]) => ({ key, value, at: { file, line: 1 } }));
}

interface LoadOptions {
  root?: string;
  backend?: string | null;
  threads?: number | null;
  /** A decoder that only writes, with its matrices in fewer bits. */
  weights?: WeightPrecision;
  /** Who is told of damaged checkpoints that are passed over. */
  out?: Output;
}

/**
 * Loads what `NAME`, a path, `NAME@STEP` or `NAME@best` means: the newest sound checkpoint, or that one.
 * @throws E150, E155 no such run or checkpoint · E180 another tokenizer · what the reader refuses
 */
export function loadAnyRun(spec: string, { root, backend = null, threads = null, weights, out }: LoadOptions = {}): LoadedAny {
  const { name, folder, step } = resolveRun(spec, { root });
  const found = findCheckpoint(folder, { step });
  if (!found) throw new QkvError('E152', `run "${name}" has no checkpoint yet`, { name });
  for (const passed of found.skipped) out?.message('W222', passed);
  const config = configOfRun(folder);
  chooseBackend({ backend, threads: threads ?? config.threads });
  setPrecision(config.precision);
  const path = join(found.folder, 'tokenizer.json');
  const tokenizer = readTokenizer(path);
  const { vocab_size: expected } = readJson(join(found.folder, 'config.json')) as { vocab_size?: number };
  // A published model may have rows to spare; a run that made its own vocabulary has none.
  const fits =
    config.from === null ? expected === tokenizer.vocabSize : expected !== undefined && tokenizer.vocabSize <= expected;
  if (!fits) {
    throw new QkvError('E180', `the checkpoint expects ${expected} entries, ${path} has ${tokenizer.vocabSize}`, {
      expected,
      found: tokenizer.vocabSize,
      path,
    });
  }
  const any = loadModel(found.folder, { objective: config.objective, strict: config.from === null, weights });
  return { name, folder, checkpoint: found.folder, step: found.step, config, any, tokenizer, endIds: endIdsOf(found.folder) };
}

function endIdsOf(folder: string): number[] {
  const file = join(folder, 'generation_config.json');
  if (!existsSync(file)) return [];
  const { eos_token_id: ends } = readJson(file) as { eos_token_id?: unknown };
  return [ends].flat().filter((id): id is number => typeof id === 'number');
}

/** The same of a run whose model writes on. @throws E113 when it is of another kind */
export function loadRun(spec: string, options: LoadOptions & { verb?: string } = {}): LoadedRun {
  const { any, ...run } = loadAnyRun(spec, options);
  if (any.kind === 'decoder') return { ...run, model: any.model };
  dispose(any.model);
  const { verb = 'trace' } = options;
  throw new QkvError('E113', `qkv ${verb} needs a model that writes on; ${run.name} is of the family ${any.family}`, {
    verb,
    name: run.name,
    model: any.family,
    kind: any.kind,
  });
}
