// Answers of dialogues: the model reads the questions and is asked only what it is to say. B batch · T tokens · N rows

import { type Context, documentMask } from '../../attention/index.ts';
import {
  chunksOf,
  type PackedBatch,
  packedBatch,
  packLengths,
  permuted,
  type Prepared,
  tooShort,
  type TokenStream,
} from '../../data/index.ts';
import { scoreBatches } from '../../evaluate/index.ts';
import { generate } from '../../generate/index.ts';
import type { Decoder } from '../../models/index.ts';
import { familyOf, type TrainConfig } from '../../settings/index.ts';
import type { Tensor } from '../../tensor/index.ts';
import { type ChatTemplate, decodeStream, type Tokenizer } from '../../tokenizers/index.ts';
import { endOfAnswer } from '../dialogues.ts';
import { mapped } from './causal.ts';
import type { Task } from './task.ts';

interface Side {
  ids: TokenStream;
  answers: TokenStream;
}
/** A dialogue, or a part of one that is longer than the context. */
interface Part {
  at: number;
  tokens: number;
}

/**
 * Rows of whole dialogues, as many as the context holds, none of which sees another; only tokens of answers are targets (and what ends an answer). A longer dialogue is
 * cut into parts; those without an answer are left out. Each epoch takes every row once, in an order of its own.
 */
export function dialoguesTask(
  config: TrainConfig,
  model: Decoder,
  tokenizer: Tokenizer,
  template: ChatTemplate,
  data: Prepared & Required<Pick<Prepared, 'answers'>>,
  validate: 'val' | 'train' = 'val',
): Task<PackedBatch> {
  const { batch: batchSize, contextLength: T, seed } = config;
  const attends = familyOf(config.model).has.includes('nHead'); // a convolution knows no documents: then each row is one
  const sideOf = (name: 'train' | 'val') => {
    const side = { ids: data[name], answers: data.answers[name] };
    const parts = partsOf(side, T);
    const alone = (_: Part, i: number) => [i];
    const rows = attends
      ? packLengths(
          parts.map((p) => p.tokens - 1),
          T,
        )
      : parts.map(alone);
    return { side, parts, rows };
  };
  const train = sideOf('train');
  const val = validate === 'train' ? train : sideOf('val');
  for (const [name, { rows, side }] of Object.entries({ training: train, validation: val }))
    if (rows.length === 0) throw tooShort(name, side.ids.length, T);

  const made = ({ side, parts, rows }: typeof train, which: readonly number[]): PackedBatch => {
    const documents: Int32Array[] = [];
    const masks: Uint8Array[] = [];
    const packed = which.map((r) =>
      rows[r].map((p) => {
        const { at, tokens } = parts[p];
        masks.push(Uint8Array.from(side.answers.read(at, tokens)));
        return documents.push(side.ids.read(at, tokens)) - 1;
      }),
    );
    return packedBatch(documents, packed, T, { masks });
  };
  const loss = (batch: PackedBatch, ctx: Context): Tensor => {
    if (!attends) return model.loss(batch, ctx);
    const [B] = batch.shape;
    return model.loss(batch, { ...ctx, mask: documentMask(batch.documents, B, T), positions: batch.positions });
  };
  const N = train.rows.length;

  return {
    trainTokens: data.train.length,
    valTokens: val.side.ids.length,
    manifest: data.manifest,
    at(m) {
      const cursors = Array.from({ length: batchSize }, (_, b) => m * batchSize + b);
      return made(
        train,
        cursors.map((c) => permuted(seed, Math.floor(c / N), c % N, N)),
      );
    },
    tokensIn: ({ documents }) => documents.reduce((n, d) => n + (d < 0 ? 0 : 1), 0),
    loss,
    async evaluate({ batches: most, stop, onBatch } = {}) {
      const n = Math.min(val.rows.length, most === undefined ? Number.POSITIVE_INFINITY : most * batchSize);
      const rows = Array.from({ length: n }, (_, i) => Math.floor((i * val.rows.length) / n));
      const batches = Array.from({ length: Math.ceil(n / batchSize) }, (_, k) => rows.slice(k * batchSize, (k + 1) * batchSize));
      return scoreBatches(
        (b: PackedBatch) => loss(b, {}),
        mapped(batches, (which) => made(val, which)),
        { stop, onBatch: onBatch && ((done) => onBatch(done, batches.length)) },
      );
    },
    async sample({ seed: from, maxTokens, prompt }) {
      const { side, parts } = val;
      const { at, tokens } = parts[from % parts.length];
      const first = side.answers.read(at, tokens).indexOf(1);
      const ids =
        prompt === undefined
          ? [...side.ids.read(at, first)]
          : [
              ...tokenizer.encode(template.render([{ role: 'user', content: prompt }], { addGenerationPrompt: true }), {
                special: true,
              }),
            ];
      if (ids.length === 0) return undefined; // a part that begins inside an answer
      const { id: end } = endOfAnswer(tokenizer, template);
      const stream = decodeStream(tokenizer, { skipSpecial: true });
      let text = '';
      for await (const id of generate(model, ids, { maxTokens, temperature: 0, stopIds: end === undefined ? [] : [end] }))
        text += stream.push(id);
      const asked = prompt ?? tokenizer.decode(ids, { skipSpecial: true }).trim();
      return { prompt: asked, text: ` → ${text + stream.end()}` };
    },
    close: () => data.close(),
  };
}

/** Dialogues in parts of at most T + 1 tokens (`chunksOf` of data/packing.ts), each with a token that is asked. */
function partsOf({ ids, answers }: Side, T: number): Part[] {
  const parts: Part[] = [];
  for (let i = 0; i < ids.documents; i++) {
    const at = ids.documentStart(i);
    const tokens = (i + 1 < ids.documents ? ids.documentStart(i + 1) : ids.length) - at;
    if (tokens <= T + 1) {
      parts.push({ at, tokens });
      continue;
    }
    const mask = Uint8Array.from(answers.read(at, tokens));
    for (const part of chunksOf(mask, T)) {
      if (part.indexOf(1, 1) > 0) parts.push({ at: at + part.byteOffset - mask.byteOffset, tokens: part.length });
    }
  }
  return parts;
}
