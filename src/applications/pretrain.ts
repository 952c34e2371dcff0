// From data to a model that writes, fills or translates: tokenizer, model, data, optimizer, run folder, and the run that joins them.

import { join } from 'node:path';
import { openPrepared, type Progress } from '../data/index.ts';
import { QkvError } from '../errors.ts';
import { createRun, findCheckpoint, openRun, type Run } from '../io/index.ts';
import { dispose, parameterCount, stateDict } from '../nn/index.ts';
import { familyOf, tokenizerKinds, type TrainConfig } from '../settings/index.ts';
import { backend, setPrecision } from '../tensor/index.ts';
import { type ChatTemplate, type Tokenizer, tokenizerToJson } from '../tokenizers/index.ts';
import { AdamW } from '../train/index.ts';
import { loadTrainer, type TrainerState } from './checkpointing.ts';
import type { TrainEvent } from './events.ts';
import { chatTemplateOf, endOfAnswer, templateFiles, templateFrom } from './dialogues.ts';
import { fromFolder } from './from.ts';
import { type AnyModel, buildModel, loadModel, type NamedIds } from './model-folder.ts';
import { specialIdOf } from './special-tokens.ts';
import { objectiveFor, openTask } from './tasks/open.ts';
import type { Task } from './tasks/task.ts';
import { isPacked, preparedFolder } from './text-data.ts';
import { readTokenizer, tokenizerFor } from './tokenizer.ts';
import { TrainingRun } from './training-run.ts';

export type { TrainEvent } from './events.ts';

export interface PretrainOptions {
  config: TrainConfig;
  /** Folder of all runs. */
  root?: string;
  /** Name of a new run; with `resume`, of the run to go on with. */
  name: string;
  resume?: boolean;
  /** Versions and the like, for env.json. */
  env?: object;
  /** Asked between steps and evaluation batches: true saves and ends the run. */
  stopped?: () => boolean;
  /** Ends the preparation of data at once; the signal's reason is thrown, and nothing is left behind. */
  signal?: AbortSignal;
  now?: () => number;
}

/** Trains a model as the settings say, in a run folder, and tells what happens. Killed at any moment, it goes on from its last checkpoint, bit for bit. */
export async function* pretrain({
  config: asked,
  root = 'runs',
  name,
  resume = false,
  env = {},
  stopped = () => false,
  signal,
  now = () => performance.now(),
}: PretrainOptions): AsyncGenerator<TrainEvent, void> {
  const config = { ...asked, objective: await objectiveFor(asked) };
  setPrecision(config.precision);
  const found = resume ? resumePoint(root, name) : undefined;
  const tokenizer = found ? readTokenizer(join(found.folder, 'tokenizer.json')) : yield* tokenizerFor(config, signal);

  const made: object[] = [];
  let task: Task | undefined;
  let run: Run | undefined;
  try {
    const any = found ? loadModel(found.folder, { ...config, strict: true }) : newModel(config, tokenizer);
    made.push(any.model);
    const { beta1, beta2, eps, weightDecay } = config;
    const optimizer = new AdamW(stateDict(any.model), { beta1, beta2, eps, weightDecay });
    made.push({ [Symbol.dispose]: () => optimizer.dispose() });

    const template = config.objective === 'dialogues' ? await templateOf(config, tokenizer, found?.folder) : undefined;
    const progress: Progress[] = [];
    const folder = preparedFolder(config, tokenizer.vocabSize, join(root, '.data'));
    task = await openTask(config, any, tokenizer, { folder, template, signal, onProgress: (p) => progress.push(p) });
    if (progress.length > 0) yield { type: 'data', progress: progress.at(-1)! };
    else if (task.pairs)
      yield { type: 'data', progress: { kind: 'pairs', pairs: task.pairs.train + task.pairs.val, skipped: task.pairs.skipped } };

    const state: TrainerState = found ? loadTrainer(found.folder, optimizer) : { format: 1, step: 0, cursor: 0, tokens: 0 };
    run = resume
      ? openRun(name, { root, step: state.step })
      : createRun({ root, name, config, env: { ...env, data: task.manifest?.key } });
    yield {
      type: 'start',
      run: run.name,
      folder: run.folder,
      step: state.step,
      parameters: parameterCount(any.model),
      vocabSize: any.vocabSize,
      trainTokens: task.trainTokens,
      valTokens: task.valTokens,
      data: task.manifest,
      pairs: task.pairs,
      uniformLossNats: task.uniformLossNats ?? Math.log(any.vocabSize),
      backend: backend().name,
      skipped: found?.skipped ?? [],
    };
    const tokenizerJson = tokenizerToJson(tokenizer);
    const ids = namedIds(any, tokenizer, template);
    const others = template && templateFiles(template);
    yield* new TrainingRun({ config, run, any, task, optimizer, state, tokenizerJson, ids, others, stopped, now }).events();
  } catch (error) {
    run?.end('failed', { error: error instanceof QkvError ? error.code : String(error) });
    throw error;
  } finally {
    task?.close();
    for (const m of made) dispose(m);
  }
}

/** With random weights, or with those of `from`. */
function newModel(config: TrainConfig, tokenizer: Tokenizer): AnyModel {
  if (config.from === null) return buildModel(config, tokenizer.vocabSize);
  const any = loadModel(fromFolder(config.from).folder, config);
  if (tokenizer.vocabSize <= any.vocabSize) return any;
  dispose(any.model);
  throw new QkvError('E180', `the model has ${any.vocabSize} entries, the tokenizer ${tokenizer.vocabSize}`, {
    expected: any.vocabSize,
    found: tokenizer.vocabSize,
    path: config.tokenizer,
  });
}

function resumePoint(root: string, name: string) {
  const found = findCheckpoint(join(root, name));
  if (!found) throw new QkvError('E152', `run "${name}" has no checkpoint yet; start it again without --resume`, { name });
  return found;
}

/** The template that the data was packed by, that a run began with, or that comes with its model or tokenizer. */
async function templateOf(config: TrainConfig, tokenizer: Tokenizer, checkpoint?: string): Promise<ChatTemplate> {
  const words = checkpoint === undefined && isPacked(config.data) ? openPrepared(config.data) : undefined;
  words?.close();
  if (words?.manifest.dialogues) return templateFrom(words.manifest.dialogues);
  const model = config.from === null ? null : fromFolder(config.from).folder;
  return chatTemplateOf(
    tokenizer,
    checkpoint ?? null,
    model,
    tokenizerKinds.includes(config.tokenizer) ? null : config.tokenizer,
  );
}

function namedIds(any: AnyModel, tokenizer: Tokenizer, template?: ChatTemplate): NamedIds {
  const pad = specialIdOf(tokenizer, 'pad');
  if (familyOf(any.family).kind === 'decoder') {
    const end = template && endOfAnswer(tokenizer, template).id;
    return { end: end ?? specialIdOf(tokenizer, 'end') };
  }
  return { end: specialIdOf(tokenizer, 'end'), pad, start: pad };
}
