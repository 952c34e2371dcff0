// Spans cut out of a text, to be written again: T5's own training. B batch · S source tokens · T target tokens

import type { Prepared } from '../../data/index.ts';
import { scoreBatches } from '../../evaluate/index.ts';
import type { EncoderDecoder, PairBatch } from '../../models/index.ts';
import type { TrainConfig } from '../../settings/index.ts';
import { Rng } from '../../tensor/index.ts';
import type { Tokenizer } from '../../tokenizers/index.ts';
import { corruptSpans, shiftRight } from '../../train/index.ts';
import { sentinelIds, specialId } from '../special-tokens.ts';
import { writeAbout } from '../write-about.ts';
import { mapped } from './causal.ts';
import { seedOf } from './encoder-text.ts';
import type { Task } from './task.ts';
import { textWindows } from './text-windows.ts';

type SpanBatch = PairBatch & { targetTokens: number };

/** Span corruption on windows of a token stream. Raffel et al. 2019, §3.1.4. All rows of a batch have the same lengths: there is no padding. */
export function spansTask(
  config: TrainConfig,
  model: EncoderDecoder,
  tokenizer: Tokenizer,
  data: Prepared,
  validate: 'val' | 'train' = 'val',
): Task<SpanBatch> {
  const { seed, maskRate: rate, meanSpan } = config;
  const text = textWindows(config, data, validate);
  const { val, contextLength } = text;
  const [padId, endId] = [specialId(tokenizer, 'pad'), specialId(tokenizer, 'end')];
  const sentinels = sentinelIds(tokenizer, 1 + Math.max(1, Math.round((rate * contextLength) / meanSpan)));

  const corrupted = (
    { inputs, shape: [B, L] }: { inputs: Int32Array; shape: readonly [number, number] },
    rng: Rng,
  ): SpanBatch => {
    const rows = Array.from({ length: B }, (_, b) =>
      corruptSpans(inputs.subarray(b * L, (b + 1) * L), { sentinel: (i) => sentinels[i], endId, rate, meanSpan, rng }),
    );
    const [S, T] = [rows[0].source.length, rows[0].target.length];
    const source = new Int32Array(B * S);
    const targets = new Int32Array(B * T);
    for (const [b, row] of rows.entries()) {
      source.set(row.source, b * S);
      targets.set(row.target, b * T);
    }
    return {
      source,
      sourceShape: [B, S],
      inputs: shiftRight(targets, [B, T], padId, padId),
      targets,
      shape: [B, T],
      targetTokens: B * T,
    };
  };

  return {
    ...text.about,
    at: (m) => corrupted(text.at(m), new Rng(seedOf(seed, m))),
    tokensIn: ({ sourceShape: [B, S], shape: [, T] }) => B * (S + T),
    loss: (batch, ctx) => model.loss(batch, ctx),
    async evaluate({ batches: most, stop, onBatch } = {}) {
      const { windows, of } = text.evaluation(most);
      const each = mapped(windows, (b, i) => corrupted(b, new Rng(seedOf(0, i))));
      return scoreBatches((b: SpanBatch) => model.loss(b), each, { stop, onBatch: onBatch && ((done) => onBatch(done, of)) });
    },
    async sample({ seed: from, maxTokens, prompt }) {
      const rng = new Rng(seedOf(from, 0));
      const window = val.read(0, Math.min(24, val.length));
      const source =
        prompt === undefined
          ? corrupted({ inputs: window, shape: [1, window.length] }, rng).source
          : Int32Array.from([...tokenizer.encode(prompt, { special: true }), endId]);
      const { ids } = await writeAbout(model, source, { startId: padId, endId, maxTokens });
      return { prompt: tokenizer.decode(source.subarray(0, -1)), text: ` → ${tokenizer.decode(ids)}` };
    },
  };
}
