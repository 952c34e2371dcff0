// Tokens that a small generator put in the place of others, to be found: what ELECTRA is trained for. B batch · T tokens

import type { Prepared } from '../../data/index.ts';
import { scoreBatches } from '../../evaluate/index.ts';
import type { Electra, ElectraBatch } from '../../models/index.ts';
import type { TrainConfig } from '../../settings/index.ts';
import { noGrad, Rng, scope } from '../../tensor/index.ts';
import type { Tokenizer } from '../../tokenizers/index.ts';
import { findReplaced } from '../find-replaced.ts';
import { mapped } from './causal.ts';
import { framing, hiding, seedOf } from './encoder-text.ts';
import type { Task } from './task.ts';
import { textWindows } from './text-windows.ts';

type ReplacedBatch = ElectraBatch & { targetTokens: number };

/** Replaced-token detection: every token of the text is asked. Clark et al. 2020, §2. */
export function replacedTask(
  config: TrainConfig,
  model: Electra,
  tokenizer: Tokenizer,
  data: Prepared,
  validate: 'val' | 'train' = 'val',
): Task<ReplacedBatch> {
  const text = textWindows(config, data, validate, 2);
  const framed = framing(tokenizer);
  const hide = hiding(config, model.bert.config.vocabSize, tokenizer);

  const hidden = (
    { inputs, shape: [B, T] }: { inputs: Int32Array; shape: readonly [number, number] },
    rng: Rng,
  ): ReplacedBatch => {
    const ids = framed(inputs, [B, T]);
    return { ids, ...hide(ids, rng), shape: [B, T + 2], seed: rng.fork(), targetTokens: ids.length };
  };

  return {
    ...text.about,
    uniformLossNats: model.uniformLossNats,
    at: (m) => hidden(text.at(m), new Rng(seedOf(config.seed, m))),
    tokensIn: ({ ids }) => ids.length,
    loss: (batch, ctx) => model.loss(batch, ctx),
    async evaluate({ batches: most, stop, onBatch } = {}) {
      const { windows, of } = text.evaluation(most);
      const counts = { found: 0, missed: 0, wrong: 0 };
      const counted = mapped(windows, (b, i) => {
        const batch = hidden(b, new Rng(seedOf(0, i)));
        count(model, batch, counts);
        return batch;
      });
      const score = await scoreBatches((b: ReplacedBatch) => model.loss(b), counted, {
        stop,
        onBatch: onBatch && ((done) => onBatch(done, of)),
      });
      const { found, missed, wrong } = counts;
      return { ...score, f1: (2 * found) / Math.max(1, 2 * found + missed + wrong) };
    },
    async sample({ seed, prompt }) {
      const { val, contextLength } = text;
      const ids = prompt === undefined ? val.read(0, Math.min(24, val.length, contextLength)) : tokenizer.encode(prompt);
      const row = { inputs: Int32Array.from(ids), shape: [1, ids.length] as const };
      const shown = prompt === undefined ? changed(model, hidden(row, new Rng(seedOf(seed, 0)))) : framed(row.inputs, row.shape);
      const { text: marked } = await findReplaced(model, tokenizer, shown);
      return { prompt: tokenizer.decode(shown.subarray(1, -1)), text: ` → ${marked}` };
    },
  };
}

/** The text with the generator's draws in it. */
function changed(model: Electra, batch: ElectraBatch): Int32Array {
  using _ = scope('generator');
  return noGrad(() => model.corrupt(batch)).inputs;
}

/** Adds the tokens of a batch that were found, missed, and called replaced though they are real. */
function count(model: Electra, batch: ElectraBatch, counts: { found: number; missed: number; wrong: number }): void {
  using _ = scope('f1');
  const { inputs, labels } = noGrad(() => model.corrupt(batch));
  const logits = noGrad(() => model.detector.forward(inputs, batch.shape)).readSync();
  for (const [i, label] of labels.entries()) {
    if (logits[i] > 0) counts[label === 1 ? 'found' : 'wrong']++;
    else if (label === 1) counts.missed++;
  }
}
