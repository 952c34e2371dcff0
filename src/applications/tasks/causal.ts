// The next token of a text: what decoders are trained for. B batch · T tokens

import { documentMask } from '../../attention/index.ts';
import { type Batch, createBatches, evalBatches, type Prepared, type TokenStream } from '../../data/index.ts';
import { bitsPerByte, scoreBatches } from '../../evaluate/index.ts';
import { generate } from '../../generate/index.ts';
import type { Decoder } from '../../models/index.ts';
import type { TrainConfig } from '../../settings/index.ts';
import { decodeStream, type Tokenizer } from '../../tokenizers/index.ts';
import { specialIdOf } from '../special-tokens.ts';
import { documentPlaces, type DocumentPlaces } from '../text-data.ts';
import type { Task } from './task.ts';

type Window = Batch & Partial<DocumentPlaces>;

/** Next-token prediction on windows of a token stream. `validate`: the stream that evaluations read. */
export function causalTask(
  config: TrainConfig,
  model: Decoder,
  tokenizer: Tokenizer,
  data: Prepared,
  validate: 'val' | 'train' = 'val',
): Task<Window> {
  const { batch: batchSize, seed, order } = config;
  const val = data[validate];
  // A text that is only scored may be shorter than what the model can see.
  const contextLength = validate === 'train' ? Math.max(1, Math.min(config.contextLength, val.length - 1)) : config.contextLength;
  const counts = data.manifest[validate];
  const batches = createBatches(data.train, { batchSize, contextLength, seed, order });
  const shape = { batchSize, contextLength, split: validate === 'val' ? 'validation' : 'other' };
  evalBatches(val, shape).next(); // says what is too short before anything starts

  const loss: Task<Window>['loss'] = (batch, ctx) => {
    if (!batch.documents) return model.loss(batch, ctx);
    const [B, T] = batch.shape;
    return model.loss(batch, { ...ctx, mask: documentMask(batch.documents, B, T), positions: batch.positions });
  };
  const window = (stream: TokenStream, batch: Batch): Window =>
    config.documentMask ? { ...batch, ...documentPlaces(stream, batch.starts, contextLength, batch.targets) } : batch;

  return {
    trainTokens: data.train.length,
    valTokens: val.length,
    manifest: data.manifest,
    at: (m) => window(data.train, batches.at(m * batchSize)),
    tokensIn: ({ shape: [B, T] }) => B * T,
    loss,
    async evaluate({ batches: most, stop, onBatch } = {}) {
      const windows = evalBatches(val, { ...shape, maxWindows: most === undefined ? undefined : most * batchSize });
      const of = most ?? Math.ceil(val.length / contextLength / batchSize);
      const score = await scoreBatches(
        (b: Window) => loss(b, {}),
        mapped(windows, (b) => window(val, b)),
        {
          stop,
          onBatch: onBatch && ((done) => onBatch(done, of)),
        },
      );
      return { ...score, bitsPerByte: bitsPerByte(score.lossNats, counts.tokens, counts.bytes) };
    },
    async sample({ seed: from, maxTokens, prompt = tokenizer.decode(val.read(0, Math.min(8, val.length))) }) {
      const ids = [...tokenizer.encode(prompt)];
      if (ids.length === 0) return undefined;
      const stopIds = [specialIdOf(tokenizer, 'end')].filter((id) => id !== undefined);
      const stream = decodeStream(tokenizer);
      let text = '';
      for await (const id of generate(model, ids, { maxTokens, temperature: 0.8, topK: 50, seed: from, stopIds }))
        text += stream.push(id);
      return { prompt, text: text + stream.end() };
    },
    close: () => data.close(),
  };
}

/** f of each item, made as it is asked for. */
export function* mapped<A, B>(items: Iterable<A>, f: (item: A, i: number) => B): Generator<B> {
  let i = 0;
  for (const item of items) yield f(item, i++);
}
