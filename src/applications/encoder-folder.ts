// Encoders: what each is asked decides its head, and the published class that its folder is of.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { bertStoredAs, loadEncoder, publishedBertConfig } from '../io/index.ts';
import {
  Bert,
  type BertConfig,
  BertPretraining,
  type BertVariant,
  Electra,
  MaskedLM,
  ReplacedTokenDetector,
  SentenceEncoder,
} from '../models/index.ts';
import type { Objective } from '../settings/index.ts';
import { Rng } from '../tensor/index.ts';
import { type AnyModel, type Encoder, filled, GENERATOR } from './any-model.ts';

/** The published class that holds what an encoder learned. */
const encoderTasks = { masked: 'maskedLM', nextSentence: 'pretraining', replaced: 'replaced', contrastive: 'base' } as const;

function encoder(made: Encoder, variant: BertVariant): AnyModel {
  const { config } = made.model.bert;
  const task = encoderTasks[made.asked];
  return {
    kind: 'encoder',
    ...made,
    family: variant === 'electra' ? 'electra' : 'bert',
    vocabSize: config.vocabSize,
    contextLength: config.contextLength,
    published: ({ pad }) => publishedBertConfig(variant, task, config, { padId: pad }),
    stored(ours) {
      if (ours.startsWith('generator.'))
        return { ...bertStoredAs('electra', 'maskedLM', ours.slice('generator.'.length)), file: GENERATOR };
      return bertStoredAs(variant, task, ours.replace(/^detector\./, '').replace(/^bert\./, task === 'base' ? '' : 'bert.'));
    },
  };
}

/** With random weights. */
export function newEncoder(asked: Objective | null, shape: BertConfig, rng: Rng): AnyModel {
  const bert = new Bert({ ...shape, pooler: asked === 'nextSentence' }, rng);
  if (asked === 'contrastive') return encoder({ asked, model: new SentenceEncoder(bert) }, 'bert');
  if (asked === 'replaced') return encoder({ asked, model: new Electra(new ReplacedTokenDetector(bert, rng), rng) }, 'electra');
  const lm = new MaskedLM(bert, rng);
  if (asked === 'nextSentence') return encoder({ asked, model: new BertPretraining(lm, rng) }, 'bert');
  return encoder({ asked: 'masked', model: lm }, 'bert');
}

/** An encoder of a folder, asked `asked`: parts that the folder lacks begin with random weights. */
export function loadedEncoder(
  folder: string,
  asked: Encoder['asked'],
  { dropout, seed }: { dropout: number; seed: number },
): AnyModel {
  const { model, variant } = loadEncoder(folder, {
    task: encoderTasks[asked],
    dropout,
    seed,
    ...(asked === 'contrastive' && { pooler: false as const }),
  });
  if (model instanceof ReplacedTokenDetector) {
    const any = encoder({ asked: 'replaced', model: new Electra(model, new Rng(seed)) }, variant);
    return existsSync(join(folder, GENERATOR)) ? filled(any, folder, GENERATOR) : any;
  }
  if (model instanceof BertPretraining) return encoder({ asked: 'nextSentence', model }, variant);
  if (model instanceof MaskedLM) return encoder({ asked: 'masked', model }, variant);
  return encoder({ asked: 'contrastive', model: new SentenceEncoder(model as Bert) }, variant);
}
