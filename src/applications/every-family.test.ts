// Issue 5: each family, as the settings make it, begins at ln V and learns one batch by heart.
import { expect, test } from 'vitest';
import type { Decoder, EncoderDecoder } from '../models/index.ts';
import { dispose, stateDict } from '../nn/index.ts';
import { familyNames, familyOf, resolve } from '../settings/index.ts';
import { Rng, scope, type Tensor } from '../tensor/index.ts';
import { AdamW, cosine, train } from '../train/index.ts';
import type { AnyModel } from './any-model.ts';
import { buildModel } from './model-folder.ts';

const V = 29;
const [S, T] = [7, 11];
const draw = (n: number, seed: number, below = V): Int32Array => {
  const rng = new Rng(seed);
  return Int32Array.from({ length: n }, () => rng.int(below));
};
/** B rows of random text: few to be learned by heart, many for a first loss that is no luck. */
function rows(B: number) {
  const text = { inputs: draw(B * T, 7), targets: draw(B * T, 8), shape: [B, T] as const };
  return {
    text,
    pairs: {
      ...text,
      source: draw(B * S, 9),
      sourceShape: [B, S] as const,
      lengths: Array.from({ length: B }, (_, b) => S - (b % 3)),
    },
    masked: { ...text, targets: text.targets.map((id, i) => (i % 3 === 0 ? id : -100)) },
    labelled: { inputs: text.inputs, labels: draw(B * T, 10, 2), shape: text.shape },
    segments: draw(B * T, 11, 2),
    follows: draw(B, 12, 2),
  };
}

/** What is asked of a model, and what a guess that knows nothing loses. */
function asked(any: AnyModel, B: number): { name: string; loss: () => Tensor; uniform: number }[] {
  const uniform = Math.log(V);
  const { text, pairs, masked, labelled, segments, follows } = rows(B);
  if (any.kind === 'decoder') return [{ name: 'next token', loss: () => (any.model as Decoder).loss(text), uniform }];
  if (any.kind === 'encoder-decoder') return [{ name: 'pairs', loss: () => (any.model as EncoderDecoder).loss(pairs), uniform }];
  const { model } = any;
  switch (any.asked) {
    case 'masked':
      return [{ name: 'masked', loss: () => any.model.loss(masked), uniform }];
    case 'nextSentence': {
      const loss = () => any.model.loss({ ...masked, segments, labels: follows });
      return [{ name: 'masked and next', loss, uniform: uniform + Math.LN2 }];
    }
    case 'replaced':
      return [
        { name: 'generator', loss: () => any.model.generator.loss(masked), uniform },
        { name: 'detector', loss: () => any.model.detector.loss(labelled), uniform: Math.LN2 },
      ];
    default:
      throw new Error(`${model.constructor.name} has no loss of its own`);
  }
}

const cases: [string, Record<string, unknown>][] = [
  ...familyNames.filter((model) => model !== 'rnn').map((model): [string, Record<string, unknown>] => [model, { model }]),
  ['bert, next sentence', { model: 'bert', objective: 'nextSentence' }],
  ['transformer, pre-norm', { model: 'transformer', preNorm: true }],
  ['rnn, no attention', { model: 'rnn', cell: 'rnn', attention: 'none' }],
  ['gru, Luong attention', { model: 'rnn', cell: 'gru', attention: 'general' }],
  ['lstm, Bahdanau attention', { model: 'rnn', cell: 'lstm', attention: 'additive' }],
];

test.each(cases)(
  '2.3.3 every family, %s: starts at ln V ± 0.1 and overfits one batch to < 0.01 in ≤ 300 steps',
  async (_, settings) => {
    const { has, objectives } = familyOf(settings['model'] as (typeof familyNames)[number]);
    const shape = {
      dModel: 24,
      contextLength: 16,
      ...(has.includes('nLayer') && { nLayer: 2 }),
      ...(has.includes('nHead') && { nHead: 2 }),
    };
    const all = { objective: objectives[0], ...shape, ...settings };
    const written = Object.entries(all).map(([key, value]) => ({ key, value, at: { argument: key } }));
    const any = buildModel(resolve([], written, { needData: false }).config, V);
    for (const { name, loss, uniform } of asked(any, 32)) {
      using _s = scope();
      expect(Math.abs(loss().itemSync() - uniform), name).toBeLessThanOrEqual(0.1);
    }
    for (const { name, loss } of asked(any, 3)) {
      const optimizer = new AdamW(stateDict(any.model), { weightDecay: 0, beta2: 0.99 });
      const schedule = cosine({
        peak: ['t5', 'rnn'].includes(String(settings['model'])) ? 2e-2 : 1e-2,
        final: 1e-3,
        warmup: 20,
        steps: 300,
      });
      const options = { steps: 300, batch: () => undefined, loss: () => loss(), optimizer, schedule, clip: 1 };
      let last = Infinity;
      for await (const { lossNats } of train(any.model, options)) {
        last = lossNats;
        if (last < 0.01) break;
      }
      expect(last, name).toBeLessThan(0.01);
      optimizer.dispose();
    }
    dispose(any.model);
  },
);
