import { QkvError } from '../../errors.ts';
import type { Progress } from '../../data/index.ts';
import { familyOf, type Objective, type TrainConfig } from '../../settings/index.ts';
import type { Tokenizer } from '../../tokenizers/index.ts';
import type { AnyModel } from '../model-folder.ts';
import { readPairs } from '../pair-data.ts';
import { isPacked, openText } from '../text-data.ts';
import { specialId } from '../special-tokens.ts';
import { holdsPairs } from '../texts.ts';
import { causalTask } from './causal.ts';
import { maskedTask } from './masked.ts';
import { pairsTask } from './pairs.ts';
import { spansTask } from './spans.ts';
import type { Task } from './task.ts';

/**
 * What these settings train for: what they say, else what the family and the data lend themselves to.
 * @throws E144 when the family needs pairs and the data has none
 */
export async function objectiveFor(config: TrainConfig): Promise<Objective> {
  const { model, objective, data } = config;
  const { kind, objectives } = familyOf(model);
  const pairs = data !== '' && !isPacked(data) && objectives.includes('pairs');
  const named = ['data.source', 'data.target', 'data.targetFile'].some((key) => config[key as 'data.source'] !== null);
  if (objective === 'pairs' && pairs && !(await holdsPairs(config))) throw needsPairs(config);
  if (objective !== null) return objective;
  if (kind === 'decoder') return named ? 'pairs' : 'causal';
  if (kind === 'encoder' || data === '') return objectives[0];
  if (pairs && (await holdsPairs(config))) return 'pairs';
  if (objectives[0] === 'spans') return 'spans';
  throw needsPairs(config);
}
const needsPairs = ({ data, model }: TrainConfig): QkvError =>
  new QkvError('E144', `model=${model} learns from pairs, and ${data} holds none`, { path: data, model });

/**
 * The task of these settings with its data open. `whole`: nothing is kept for training, all of the data is evaluated on.
 * @throws those of the data, and E165 when the tokenizer lacks a token that the task needs
 */
export async function openTask(
  config: TrainConfig,
  any: AnyModel,
  tokenizer: Tokenizer,
  options: { folder: string; whole?: boolean; signal?: AbortSignal; onProgress?: (progress: Progress) => void },
): Promise<Task> {
  const { whole = false, signal } = options;
  const { objective } = config;
  if (objective === 'pairs') {
    const pairs = await readPairs(config, tokenizer, specialId(tokenizer, 'end'), {
      whole,
      signal,
      together: any.kind === 'decoder',
    });
    return pairsTask(config, any, tokenizer, pairs);
  }
  const text = await openText(config, tokenizer, options);
  const validate = whole && !isPacked(config.data) ? 'train' : 'val';
  try {
    if (any.kind === 'encoder' && objective === 'masked') return maskedTask(config, any.model, tokenizer, text, validate);
    if (any.kind === 'encoder-decoder' && objective === 'spans') return spansTask(config, any.model, tokenizer, text, validate);
    if (any.kind === 'decoder' && objective === 'causal') return causalTask(config, any.model, tokenizer, text, validate);
  } catch (error) {
    text.close();
    throw error;
  }
  text.close();
  throw new Error(`openTask: ${objective} of a ${any.kind}; resolve() refuses this`);
}
