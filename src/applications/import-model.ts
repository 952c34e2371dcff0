// A model that somebody else made becomes a run.

import { existsSync, rmSync, statSync } from 'node:fs';
import { basename, dirname, extname, join, resolve as resolvePath } from 'node:path';
import { QkvError } from '../errors.ts';
import {
  createRun,
  openPublished,
  type Published,
  type SafetensorsReader,
  saveCheckpoint,
  writeSafetensorsTo,
} from '../io/index.ts';
import { dispose, parameterCount } from '../nn/index.ts';
import { familyOf, resolve, type TrainConfig } from '../settings/index.ts';
import { type Tokenizer, tokenizerFromJson } from '../tokenizers/index.ts';
import { json, type LoadedPublished, loadPublished } from './exchange.ts';
import { fineTuningLr } from './from.ts';
import { type AnyModel, shapeSettings } from './model-folder.ts';

/** What an import found. */
export interface Imported {
  run: string;
  folder: string;
  source: string;
  container: string;
  modelType: string;
  family: string;
  kind: LoadedPublished['kind'];
  /** What an encoder's file was saved for. */
  task?: string;
  parameters: number;
  contextLength: number;
  vocabSize: number;
  /** Tensors of each type in the file. */
  dtypes: Record<string, number>;
  tokenizer?: { kind: string; vocabSize: number };
  /** Tensors of the file that the model has no place for and that are known to be none of its weights: masks, copies, other heads. */
  passedOver: string[];
  /** Tensors that the file lacks and that begin at random: the head of an encoder that was saved without one. */
  fresh: string[];
  bytes: number;
  notes: string[];
}

/**
 * Makes a run of what `openPublished` opens: its config.json, its weights in their own types, its tokenizer. All of it or nothing.
 * @throws CheckpointError of the readers · QkvError E151 (the name exists), E157
 */
export async function importModel(
  source: string,
  o: { root?: string; name?: string; called?: string; env?: object } = {},
): Promise<Imported> {
  const published = await openPublished(source);
  try {
    return await importPublished(published, o);
  } finally {
    published.close();
  }
}

async function importPublished(
  published: Published,
  { root = 'runs', name, called, env = {} }: { root?: string; name?: string; called?: string; env?: object },
): Promise<Imported> {
  const { reader, read } = watched(published.weights);
  const loaded = loadPublished({ ...published, weights: reader }, { whole: true });
  const parameters = parameterCount(loaded.model);
  const config = settingsOfRun(loaded);
  dispose(loaded.model);
  const { tensors } = published.weights;
  const notes = [...published.notes];
  const tokenizer = tokenizerOf(published, notes);
  const vocabSize = Number(published.config['vocab_size']);
  if (tokenizer && tokenizer.vocabSize > vocabSize)
    throw new QkvError('E180', `the model has ${vocabSize} entries, its tokenizer ${tokenizer.vocabSize}`, {
      ...{ expected: vocabSize, found: tokenizer.vocabSize, path: published.source },
    });
  if (loaded.kind === 'encoder' && !['maskedLM', 'replaced', 'pretraining'].includes(loaded.task))
    notes.push(`saved for another task than masks (${loaded.task}): generate and train give it a new head for masks`);
  const kept = [...tensors.keys()].filter((n) => read.has(n));
  const entries = kept.map((n) => {
    const { dtype, shape } = tensors.get(n)!;
    return { name: n, dtype, shape, bytes: () => published.weights.read(n) };
  });
  const run = createRun({
    root,
    name: name ?? freeName(called ?? published.source, root),
    config,
    env: { ...env, imported: { source: published.source, container: published.kind } },
  });
  try {
    const saved = saveCheckpoint({
      runFolder: run.folder,
      step: 0,
      runId: run.runId,
      configHash: run.configHash,
      files: [
        { name: 'config.json', bytes: json(published.config) },
        { name: 'model.safetensors', write: (sink) => void writeSafetensorsTo(sink, entries, { format: 'pt' }) },
        ...(published.tokenizerJson === undefined ? [] : [{ name: 'tokenizer.json', bytes: published.tokenizerJson }]),
        ...published.others,
      ],
    });
    run.log.append({ type: 'checkpoint', step: 0, folder: saved.folder, bytes: saved.bytes, best: true, durable: saved.durable });
    run.end('done', { step: 0 });
    return {
      ...{ run: run.name, folder: run.folder, source: published.source, container: published.kind },
      ...{ modelType: String(published.config['model_type']), family: config.model, kind: loaded.kind, parameters },
      task: loaded.kind === 'encoder' ? loaded.task : undefined,
      ...{ contextLength: config.contextLength, vocabSize, dtypes: typesOf(published.weights) },
      tokenizer: tokenizer && { kind: tokenizer.kind, vocabSize: tokenizer.vocabSize },
      passedOver: [...tensors.keys()].filter((n) => !read.has(n)),
      ...{ fresh: loaded.kind === 'encoder' ? loaded.fresh : [], bytes: saved.bytes, notes },
    };
  } catch (error) {
    run.end('failed');
    rmSync(run.folder, { recursive: true, force: true });
    throw error;
  }
}

function typesOf(weights: SafetensorsReader): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { dtype } of weights.tensors.values()) counts[dtype] = (counts[dtype] ?? 0) + 1;
  return counts;
}

/** A reader that notes what was read of it. */
function watched(weights: SafetensorsReader): { reader: SafetensorsReader; read: Set<string> } {
  const read = new Set<string>();
  const note = (name: string): string => {
    read.add(name);
    return name;
  };
  const { direct } = weights;
  return {
    read,
    reader: {
      ...weights,
      read: (n) => weights.read(note(n)),
      readInto: (n, at, to) => weights.readInto(note(n), at, to),
      direct: direct && { ...direct, of: (n) => direct.of(note(n)) },
    },
  };
}

/** The tokenizer, tried; one that is not read leaves a note and a run that trains but does not write. */
function tokenizerOf(published: Published, notes: string[]): Tokenizer | undefined {
  if (published.tokenizerJson === undefined) return undefined;
  try {
    return tokenizerFromJson(published.tokenizerJson);
  } catch (error) {
    if (!(error instanceof QkvError)) throw error;
    notes.push(`the tokenizer is not read here (${error.message}); the file was taken along`);
    return undefined;
  }
}

/** The run's config.json: the model's shape among the settings of training, and where it begins: `qkv train runs/NAME/config.json data=…` goes on from it. */
function settingsOfRun(loaded: LoadedPublished): TrainConfig {
  const model = loaded.kind === 'encoder' && !('bert' in loaded.model) ? { bert: loaded.model } : loaded.model;
  const encoder = loaded.kind === 'encoder' && loaded.variant === 'electra' ? 'electra' : 'bert';
  const family = loaded.kind === 'decoder' ? loaded.settings.model : loaded.kind === 'encoder' ? encoder : 't5';
  const shape = shapeSettings({ kind: loaded.kind, family, model } as unknown as AnyModel);
  const body = ('bert' in model ? model.bert : model) as { config: { contextLength: number; vocabSize: number; dModel: number } };
  const { contextLength, vocabSize, dModel } = body.config;
  const known = {
    ...shape,
    contextLength,
    lr: fineTuningLr(dModel),
    objective: loaded.kind === 'encoder-decoder' ? 'pairs' : familyOf(family).objectives[0],
    ...(vocabSize >= 257 ? { vocabSize } : {}), // of a bpe vocabulary; smaller ones are found with the tokenizer
  };
  const at = { argument: 'import' };
  const words = Object.entries(known).map(([key, value]) => ({ key, value, at }));
  const { config } = resolve([], words, { needData: false });
  return {
    ...config,
    data: null as never, // to be named by who trains on
    from: 'step-000000',
    tokenizer: 'step-000000/tokenizer.json',
  };
}

/** The name of the folder or file, with a number when it is taken. */
function freeName(source: string, root: string): string {
  const path = resolvePath(source);
  const file = existsSync(path) && statSync(path).isFile();
  const word = file && extname(path) !== '.gguf' ? basename(dirname(path)) : basename(path, file ? extname(path) : '');
  const stem =
    word
      .replace(/[^\p{L}\p{N}._-]+/gu, '-')
      .replace(/^[^\p{L}\p{N}]+|\.+$/gu, '')
      .slice(0, 50) || 'model';
  if (!existsSync(join(root, stem))) return stem;
  for (let n = 2; ; n++) if (!existsSync(join(root, `${stem}-${n}`))) return `${stem}-${n}`;
}
