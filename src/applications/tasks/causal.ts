// The next token of a text: what decoders are trained for. B batch · T tokens

import { documentMask } from '../../attention/index.ts';
import { type Batch, mixBatches, type Prepared, type TokenStream } from '../../data/index.ts';
import { bitsPerByte, scoreBatches } from '../../evaluate/index.ts';
import { generate } from '../../generate/index.ts';
import type { Decoder } from '../../models/index.ts';
import type { TrainConfig } from '../../settings/index.ts';
import { decodeStream, type Tokenizer } from '../../tokenizers/index.ts';
import { specialIdOf } from '../special-tokens.ts';
import { documentPlaces, type DocumentPlaces } from '../text-data.ts';
import type { Task } from './task.ts';
import { textWindows } from './text-windows.ts';

type Window = Batch & Partial<DocumentPlaces>;

/** Further text that is mixed in while training, with its share of the samples. */
export interface MixedText {
  data: Prepared;
  share: number;
}

/** Next-token prediction on windows of a token stream, or of several that are mixed. `validate`: the stream that evaluations read. */
export function causalTask(
  config: TrainConfig,
  model: Decoder,
  tokenizer: Tokenizer,
  data: Prepared,
  validate: 'val' | 'train' = 'val',
  mixed: readonly MixedText[] = [],
): Task<Window> {
  const { batch: batchSize, seed } = config;
  const text = textWindows(config, data, validate);
  const { val } = text;
  const counts = data.manifest[validate];
  const rest = 1 - mixed.reduce((sum, m) => sum + m.share, 0);
  const sources = [{ stream: data.train, weight: rest }, ...mixed.map((m) => ({ stream: m.data.train, weight: m.share }))];
  const each = sources.map(({ stream, weight }, i) => ({
    batches: i === 0 ? text.batches : text.batchesOf(stream, seed + 1_000_003 * i),
    weight,
  }));
  const mixture = mixed.length > 0 ? mixBatches(each, { seed, batchSize }) : undefined;

  const loss: Task<Window>['loss'] = (batch, ctx) => {
    if (!batch.documents) return model.loss(batch, ctx);
    const [B, T] = batch.shape;
    return model.loss(batch, { ...ctx, mask: documentMask(batch.documents, B, T), positions: batch.positions });
  };
  const window = (batch: Batch, streamOf: (row: number) => TokenStream): Window => {
    if (!config.documentMask) return batch;
    const [B, T] = batch.shape;
    const places = { documents: new Int32Array(B * T), positions: new Int32Array(B * T), targetTokens: 0 };
    for (const [b, start] of batch.starts.entries()) {
      const row = documentPlaces(streamOf(b), [start], T, batch.targets.subarray(b * T, (b + 1) * T));
      places.documents.set(row.documents, b * T);
      places.positions.set(row.positions, b * T);
      places.targetTokens += row.targetTokens;
    }
    return { ...batch, ...places };
  };

  return {
    ...text.about,
    trainTokens: sources.reduce((n, { stream }) => n + stream.length, 0),
    at(m) {
      const cursor = m * batchSize;
      if (!mixture) return window(text.at(m), () => data.train);
      return window(mixture.at(cursor), (row) => sources[mixture.sourceOf(cursor + row).source].stream);
    },
    tokensIn: ({ shape: [B, T] }) => B * T,
    loss,
    async evaluate({ batches: most, stop, onBatch } = {}) {
      const { windows, of } = text.evaluation(most);
      const score = await scoreBatches(
        (b: Window) => loss(b, {}),
        mapped(windows, (b) => window(b, () => val)),
        {
          stop,
          onBatch: onBatch && ((done) => onBatch(done, of)),
        },
      );
      return { ...score, bitsPerByte: bitsPerByte(score.lossNats, counts.tokens, counts.bytes) };
    },
    async sample({ seed: from, maxTokens, prompt = wholeCharacters(tokenizer, val.read(0, Math.min(8, val.length))) }) {
      const ids = [...tokenizer.encode(prompt)];
      if (ids.length === 0) return undefined;
      const stopIds = [specialIdOf(tokenizer, 'end')].filter((id) => id !== undefined);
      const stream = decodeStream(tokenizer);
      let written = '';
      for await (const id of generate(model, ids, { maxTokens, temperature: 0.8, topK: 50, seed: from, stopIds }))
        written += stream.push(id);
      return { prompt, text: written + stream.end() };
    },
    close() {
      data.close();
      for (const m of mixed) m.data.close();
    },
  };
}

/** f of each item, made as it is asked for. */
export function* mapped<A, B>(items: Iterable<A>, f: (item: A, i: number) => B): Generator<B> {
  let i = 0;
  for (const item of items) yield f(item, i++);
}

/** The text of ids that may begin and end inside a character: without its halves. */
function wholeCharacters(tokenizer: Tokenizer, ids: Int32Array): string {
  const stream = decodeStream(tokenizer);
  return Array.from(ids, (id) => stream.push(id))
    .join('')
    .replace(/^\ufffd+/, '');
}
