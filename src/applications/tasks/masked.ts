// Hidden tokens, to be guessed from both sides: what encoders are trained for. B batch · T tokens

import { IGNORE_INDEX, type Prepared } from '../../data/index.ts';
import { scoreBatches } from '../../evaluate/index.ts';
import type { MaskedBatch, MaskedLM } from '../../models/index.ts';
import type { TrainConfig } from '../../settings/index.ts';
import { noGrad, Rng, scope } from '../../tensor/index.ts';
import type { Tokenizer } from '../../tokenizers/index.ts';
import { fillMasks } from '../fill-mask.ts';
import { specialId } from '../special-tokens.ts';
import { mapped } from './causal.ts';
import { framing, type Hidden, hiding, seedOf } from './encoder-text.ts';
import type { Task } from './task.ts';
import { textWindows } from './text-windows.ts';

/**
 * Masked LM (Devlin et al. 2018, §3.1): [CLS], a window of the text, [SEP]; other tokens are hidden every time a window comes by (Liu et al. 2019, §4.1).
 * Evaluations hide the same ones each time.
 */
export function maskedTask(
  config: TrainConfig,
  model: MaskedLM,
  tokenizer: Tokenizer,
  data: Prepared,
  validate: 'val' | 'train' = 'val',
): Task<Hidden & MaskedBatch> {
  const text = textWindows(config, data, validate, 2);
  const framed = framing(tokenizer);
  const hide = hiding(config, model.bert.config.vocabSize, tokenizer);
  const hidden = ({ inputs, shape: [B, T] }: { inputs: Int32Array; shape: readonly [number, number] }, rng: Rng) => ({
    ...hide(framed(inputs, [B, T]), rng),
    shape: [B, T + 2] as const,
  });

  return {
    ...text.about,
    at: (m) => hidden(text.at(m), new Rng(seedOf(config.seed, m))),
    tokensIn: ({ shape: [B, T] }) => B * T,
    loss: (batch, ctx) => model.loss(batch, ctx),
    async evaluate({ batches: most, stop, onBatch } = {}) {
      const { windows, of } = text.evaluation(most);
      let right = 0;
      const counted = mapped(windows, (b, i) => {
        const batch = hidden(b, new Rng(seedOf(0, i)));
        right += correct(model, batch);
        return batch;
      });
      const score = await scoreBatches((b: MaskedBatch & Hidden) => model.loss(b), counted, {
        stop,
        onBatch: onBatch && ((done) => onBatch(done, of)),
      });
      return { ...score, accuracy: right / score.tokens };
    },
    sample: ({ seed, prompt }) => {
      const { val, contextLength } = text;
      const ids =
        prompt === undefined ? val.read(0, Math.min(24, val.length, contextLength)) : tokenizer.encode(prompt, { special: true });
      const row = { inputs: ids, shape: [1, ids.length] as const };
      const inputs = prompt === undefined ? hidden(row, new Rng(seedOf(seed, 0))).inputs : framed(ids, row.shape);
      return filledSample(model, tokenizer, inputs);
    },
  };
}

/** A text with masks → itself, and with the likeliest tokens in their places. */
export async function filledSample(model: MaskedLM, tokenizer: Tokenizer, inputs: Int32Array) {
  const filled = inputs.slice();
  for (const { at, guesses } of await fillMasks(model, inputs, specialId(tokenizer, 'mask'), 1)) filled[at] = guesses[0].id;
  const text = (row: Int32Array) => tokenizer.decode(row.subarray(1, -1));
  return { prompt: text(inputs), text: ` → ${text(filled)}` };
}

/** Asked tokens whose first guess is right. */
function correct(model: MaskedLM, { inputs, targets, shape }: MaskedBatch): number {
  using _ = scope('accuracy');
  const best = noGrad(() => model.forward(inputs, shape).argmax()).readSync();
  return targets.reduce((n, id, i) => n + (id !== IGNORE_INDEX && best[i] === id ? 1 : 0), 0);
}
