// A trained model of pairs as something that answers: text in, text out.

import { generate, type Writer } from '../generate/index.ts';
import type { Decoder } from '../models/index.ts';
import { decodeStream, type Tokenizer } from '../tokenizers/index.ts';
import type { AnyModel } from './model-folder.ts';
import { specialId, specialIdOf } from './special-tokens.ts';
import { writeAbout, type WriteOptions } from './write-about.ts';

export interface PairWriter {
  startId: number;
  endId: number;
  padId: number;
  /** The ids of a source, with the end that belongs to it. */
  sourceIds(text: string): Int32Array;
  /** What the model writes for a source. */
  write(
    source: string,
    options: Omit<WriteOptions, 'startId' | 'endId' | 'onId'> & { onText?: (text: string) => void | Promise<void> },
  ): Promise<{ text: string; ids: number[]; ended: boolean }>;
}

/** A decoder that reads the source from both sides: no token of it is hidden from another. What follows comes one by one. */
export const readingWhole = (model: Decoder): Writer => ({
  config: model.config,
  newCaches: (B, length) => model.newCaches(B, length),
  nextLogits: (ids, shape, { caches }) =>
    model.nextLogits(ids, shape, { caches, ...(caches?.[0].length === 0 ? { causal: false } : {}) }),
});

/**
 * `spans`: the model was trained on cut-out spans; sentinels (<extra_id_0>) in the source are read as such, and shown in what it writes.
 * `prefix`: a decoder was trained to see the whole source.
 * @throws E165 when the tokenizer has no end, or no padding for an encoder-decoder
 */
export function pairWriter(
  any: AnyModel,
  tokenizer: Tokenizer,
  { spans = false, prefix = false }: { spans?: boolean; prefix?: boolean } = {},
): PairWriter {
  const endId = specialId(tokenizer, 'end');
  const padId = any.kind === 'encoder-decoder' ? specialId(tokenizer, 'pad') : (specialIdOf(tokenizer, 'pad') ?? endId);
  const startId = padId; // T5's habit, and Marian's
  const sourceIds = (text: string): Int32Array => Int32Array.from([...tokenizer.encode(text, { special: spans }), endId]);
  return {
    startId,
    endId,
    padId,
    sourceIds,
    async write(source, { onText, ...options }) {
      const stream = decodeStream(tokenizer, { skipSpecial: !spans });
      let text = '';
      const add = async (piece: string): Promise<void> => {
        text += piece;
        if (piece !== '') await onText?.(piece);
      };
      const input = sourceIds(source);
      if (any.kind === 'encoder-decoder') {
        const streams = (options.beams ?? 1) === 1;
        const { ids, ended } = await writeAbout(any.model, input, {
          ...options,
          startId,
          endId,
          onId: streams ? (id) => add(stream.push(id)) : undefined,
        });
        if (!streams) for (const id of ids) await add(stream.push(id));
        await add(stream.end());
        return { text, ids, ended };
      }
      if (any.kind !== 'decoder') throw new Error('pairWriter: an encoder writes nothing');
      const ids: number[] = [];
      const { stop, maxTokens } = options;
      const writes = prefix ? readingWhole(any.model) : any.model;
      for await (const id of generate(writes, [...input], { temperature: 0, ...options, stopIds: [endId] })) {
        ids.push(id);
        await add(stream.push(id));
        if (stop?.()) break;
      }
      await add(stream.end());
      return { text, ids, ended: ids.length < maxTokens };
    },
  };
}
