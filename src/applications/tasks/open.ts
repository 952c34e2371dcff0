import { dirname } from 'node:path';
import { QkvError } from '../../errors.ts';
import { familyOf, mixtureOf, type Objective, pairObjectives, type TrainConfig } from '../../settings/index.ts';
import type { ChatTemplate, Tokenizer } from '../../tokenizers/index.ts';
import type { AnyModel } from '../model-folder.ts';
import { readPairs } from '../pair-data.ts';
import { isDialogues, isPacked, type OpenOptions, openText, preparedFolder } from '../text-data.ts';
import { specialId } from '../special-tokens.ts';
import { holdsPairs } from '../texts.ts';
import { openDialogues } from '../dialogues.ts';
import { causalTask, type MixedText } from './causal.ts';
import { contrastiveTask } from './contrastive.ts';
import { dialoguesTask } from './dialogues.ts';
import { maskedTask } from './masked.ts';
import { nextSentenceTask } from './next-sentence.ts';
import { pairsTask } from './pairs.ts';
import { replacedTask } from './replaced.ts';
import { spansTask } from './spans.ts';
import type { Task } from './task.ts';

/**
 * What these settings train for: what they say, else what the family and the data lend themselves to.
 * @throws E144 when the family needs pairs and the data has none
 */
export async function objectiveFor(config: TrainConfig): Promise<Objective> {
  const { model, objective, data } = config;
  const { kind, objectives } = familyOf(model);
  const readable = data !== '' && !isPacked(data);
  const pairs = readable && objectives.includes('pairs');
  const named = ['data.source', 'data.target', 'data.targetFile'].some((key) => config[key as 'data.source'] !== null);
  if (pairObjectives.includes(objective) && readable && !(await holdsPairs(config))) throw needsPairs(config);
  if (objective !== null) return objective;
  if (kind === 'decoder') return named ? 'pairs' : data !== '' && (await isDialogues(config)) ? 'dialogues' : 'causal';
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
  options: OpenOptions & { /** Of dialogues. */ template?: ChatTemplate },
): Promise<Task> {
  const { whole = false, signal, template } = options;
  const { objective } = config;
  const endOf = () => specialId(tokenizer, 'end');
  if (any.kind === 'encoder' && any.asked === 'contrastive') {
    const shorter = { ...config, contextLength: config.contextLength - 1 }; // [CLS]
    return contrastiveTask(config, any.model, tokenizer, await readPairs(shorter, tokenizer, endOf(), { whole, signal }));
  }
  if (pairObjectives.includes(objective)) {
    const pairs = await readPairs(config, tokenizer, endOf(), { whole, signal, together: any.kind === 'decoder' });
    return pairsTask(config, any, tokenizer, pairs);
  }
  if (any.kind === 'decoder' && objective === 'dialogues') {
    const dialogues = await openDialogues(config, tokenizer, template!, options);
    try {
      return dialoguesTask(config, any.model, tokenizer, template!, dialogues, whole && !isPacked(config.data) ? 'train' : 'val');
    } catch (error) {
      dialogues.close();
      throw error;
    }
  }
  const text = await openText(config, tokenizer, options);
  const mixed: MixedText[] = [];
  const validate = whole && !isPacked(config.data) ? 'train' : 'val';
  try {
    if (any.kind === 'encoder') {
      if (any.asked === 'masked') return maskedTask(config, any.model, tokenizer, text, validate);
      if (any.asked === 'nextSentence') return nextSentenceTask(config, any.model, tokenizer, text, validate);
      if (any.asked === 'replaced') return replacedTask(config, any.model, tokenizer, text, validate);
    }
    if (any.kind === 'encoder-decoder' && objective === 'spans') return spansTask(config, any.model, tokenizer, text, validate);
    if (any.kind === 'decoder' && objective === 'causal') {
      if (!whole)
        for (const { path, share } of mixtureOf(config['data.mix'])) {
          const source = { ...config, data: path };
          const folder = preparedFolder(source, tokenizer.vocabSize, dirname(options.folder));
          mixed.push({ data: await openText(source, tokenizer, { ...options, folder }), share });
        }
      return causalTask(config, any.model, tokenizer, text, validate, mixed);
    }
  } catch (error) {
    text.close();
    for (const { data } of mixed) data.close();
    throw error;
  }
  text.close();
  throw new Error(`openTask: ${objective} of a ${any.kind}; resolve() refuses this`);
}
