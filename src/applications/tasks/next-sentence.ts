// Hidden tokens, and whether the second half of a text follows the first: what BERT was trained for. B batch · T tokens

import type { Prepared, TokenStream } from '../../data/index.ts';
import { scoreBatches } from '../../evaluate/index.ts';
import type { BertPretraining, SegmentedBatch } from '../../models/index.ts';
import type { TrainConfig } from '../../settings/index.ts';
import { noGrad, Rng, scope } from '../../tensor/index.ts';
import type { Tokenizer } from '../../tokenizers/index.ts';
import { nextSentence } from '../../train/index.ts';
import { specialId } from '../special-tokens.ts';
import { mapped } from './causal.ts';
import { type Hidden, hiding, seedOf } from './encoder-text.ts';
import { filledSample } from './masked.ts';
import type { Task } from './task.ts';
import { textWindows } from './text-windows.ts';

/** [CLS] A [SEP] B [SEP]: A is the first half of a window, B its second, or as much from anywhere else. Devlin et al. 2018, §3.1. */
export function nextSentenceTask(
  config: TrainConfig,
  model: BertPretraining,
  tokenizer: Tokenizer,
  data: Prepared,
  validate: 'val' | 'train' = 'val',
): Task<Hidden & SegmentedBatch> {
  const text = textWindows(config, data, validate, 3);
  const [first, last] = (['first', 'last'] as const).map((name) => specialId(tokenizer, name));
  const hide = hiding(config, model.bert.config.vocabSize, tokenizer);

  const pairs = (
    { inputs, shape: [B, L] }: { inputs: Int32Array; shape: readonly [number, number] },
    stream: TokenStream,
    rng: Rng,
  ) => {
    const half = L >> 1;
    const T = L + 3;
    const ids = new Int32Array(B * T);
    const segments = new Int32Array(B * T);
    const labels = new Int32Array(B);
    for (let b = 0; b < B; b++) {
      const window = inputs.subarray(b * L, (b + 1) * L);
      const elsewhere = () => stream.read(rng.int(stream.length - (L - half) + 1), L - half);
      const { second, label } = nextSentence(window.subarray(half), elsewhere, rng);
      ids.set([first, ...window.subarray(0, half), last, ...second, last], b * T);
      segments.fill(1, b * T + half + 2, (b + 1) * T);
      labels[b] = label;
    }
    return { ...hide(ids, rng), segments, labels, shape: [B, T] as const };
  };

  return {
    ...text.about,
    uniformLossNats: Math.log(model.bert.config.vocabSize) + Math.LN2,
    at: (m) => pairs(text.at(m), data.train, new Rng(seedOf(config.seed, m))),
    tokensIn: ({ shape: [B, T] }) => B * T,
    loss: (batch, ctx) => model.loss(batch, ctx),
    async evaluate({ batches: most, stop, onBatch } = {}) {
      const { windows, of } = text.evaluation(most);
      let [right, rows] = [0, 0];
      const counted = mapped(windows, (b, i) => {
        const batch = pairs(b, text.val, new Rng(seedOf(0, i)));
        right += correct(model, batch);
        rows += batch.labels.length;
        return batch;
      });
      const score = await scoreBatches((b: Hidden & SegmentedBatch) => model.loss(b), counted, {
        stop,
        onBatch: onBatch && ((done) => onBatch(done, of)),
      });
      return { ...score, nextAccuracy: right / rows };
    },
    sample: ({ seed, prompt }) => {
      const { val, contextLength } = text;
      const ids =
        prompt === undefined ? val.read(0, Math.min(24, val.length, contextLength)) : tokenizer.encode(prompt, { special: true });
      const row = Int32Array.from([first, ...ids, last]);
      return filledSample(model.lm, tokenizer, prompt === undefined ? hide(row, new Rng(seedOf(seed, 0))).inputs : row);
    },
  };
}

/** Rows of which it is known whether their halves belong together. */
function correct(model: BertPretraining, { inputs, segments, labels, shape }: SegmentedBatch): number {
  using _ = scope('accuracy');
  const guesses = noGrad(() => model.follows(model.bert.hidden(inputs, shape, { segments })).argmax()).readSync();
  return labels.reduce((n, label, b) => n + (guesses[b] === label ? 1 : 0), 0);
}
