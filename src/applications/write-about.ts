import { beamSearch } from '../generate/beam.ts';
import { generate } from '../generate/index.ts';
import type { SamplingOptions } from '../generate/sampling.ts';
import { type EncoderDecoder, SourceWriter } from '../models/index.ts';

export interface WriteOptions extends SamplingOptions {
  /** What the decoder begins with, and what ends its text. */
  startId: number;
  endId: number;
  maxTokens: number;
  seed?: number;
  /** Beginnings that are kept by a beam search; 1 writes greedily, or as temperature says. */
  beams?: number;
  /** α of a beam's score log p / lengthᵅ. */
  lengthPenalty?: number;
  /** Told of each id as it is written, without a beam. */
  onId?: (id: number) => void | Promise<void>;
  stop?: () => boolean;
}

/** What an encoder-decoder writes about a source, without the end: greedily (temperature 0), drawn, or by beam search. */
export async function writeAbout(
  model: EncoderDecoder,
  source: Int32Array,
  { startId, endId, maxTokens, beams = 1, lengthPenalty = 1, temperature = 0, onId, stop, ...options }: WriteOptions,
): Promise<{ ids: number[]; ended: boolean }> {
  using writer = new SourceWriter(model, source);
  const most = Math.max(1, Math.min(maxTokens, writer.config.contextLength));
  if (beams > 1) {
    const [best] = await beamSearch(writer, [startId], { beams, maxTokens: most, lengthPenalty, endIds: [endId] });
    return { ids: best.ids, ended: best.ended };
  }
  const ids: number[] = [];
  for await (const id of generate(writer, [startId], { ...options, temperature, maxTokens: most, stopIds: [endId] })) {
    ids.push(id);
    await onId?.(id);
    if (stop?.()) return { ids, ended: false };
  }
  return { ids, ended: ids.length < most };
}
