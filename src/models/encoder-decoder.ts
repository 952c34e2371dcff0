// B batch · S source tokens · T target tokens · C = dModel channels · V vocabulary

import { type AttentionCache, type Context, CrossCache } from '../attention/index.ts';
import { noGrad, type Tensor, tidy } from '../tensor/index.ts';
import type { EncoderContext } from './bert.ts';

/** B sources and, for each, a target: what the decoder is given (it begins with the start token) and the id that follows each place. */
export interface PairBatch {
  source: Int32Array;
  sourceShape: readonly [B: number, S: number];
  /** Real tokens of each source; all of them when left out. */
  lengths?: readonly number[];
  inputs: Int32Array;
  /** −100: not asked. */
  targets: Int32Array;
  shape: readonly [B: number, T: number];
}

/** What the decoder needs beyond its ids and the memory. */
export interface DecodeContext extends Context {
  /** Real tokens in each row of the memory. */
  lengths?: readonly number[];
  /** One a layer, while generating: the memory is projected once. */
  crossCaches?: readonly CrossCache[];
}

/** Reads a source, writes a target: an encoder whose output, the memory, every layer of a decoder looks at. */
export interface EncoderDecoder {
  readonly config: { vocabSize: number; contextLength: number; nLayer: number };
  /** ids: B rows of S token ids → memory (B, S, C). It does not depend on the target. */
  encode(ids: Int32Array, shape: readonly [B: number, S: number], ctx?: EncoderContext): Tensor;
  /** ids: B rows of T token ids → the decoder's last hidden states (B, T, C), as the head takes them. */
  decode(ids: Int32Array, shape: readonly [B: number, T: number], memory: Tensor, ctx?: DecodeContext): Tensor;
  /** Hidden states (…, C) → logits (…, V). */
  logits(hidden: Tensor): Tensor;
  /** Mean cross-entropy in nats a target token, every target token being given to predict the next (teacher forcing). */
  loss(batch: PairBatch, ctx?: Context): Tensor;
  newCaches(B: number, length?: number): AttentionCache[];
}

/** The decoder's last hidden states (B, T, C) at all places of a batch; a recorder sees both stacks. */
export function targetStates(model: EncoderDecoder, batch: PairBatch, ctx: Context = {}): Tensor {
  const { source, sourceShape, lengths, inputs, shape } = batch;
  const memory = model.encode(source, sourceShape, { ...ctx, lengths, record: recordAs('encoder', ctx) });
  return model.decode(inputs, shape, memory, { ...ctx, lengths, record: recordAs('decoder', ctx) });
}
/** Logits (B, T, V) of all places of a batch. */
export const pairLogits = (model: EncoderDecoder, batch: PairBatch, ctx: Context = {}): Tensor =>
  model.logits(targetStates(model, batch, ctx));

/** A recorder that puts the name of the stack before what it is told. */
export const recordAs = (stack: string, { record }: Context): Context['record'] =>
  record && ((name, value) => record(`${stack}.${name}`, value));

/**
 * The decoder while it writes about one source: all that generate() asks of a model. The source is read, and projected into every layer's keys
 * and values, once. Free it with `using`.
 */
export class SourceWriter implements Disposable {
  readonly config: { contextLength: number; vocabSize: number };
  readonly #memory: Tensor;
  readonly #crossCaches: CrossCache[];
  /** Texts that the cross caches are made for. */
  #rows = 0;

  constructor(
    readonly model: EncoderDecoder,
    source: Int32Array,
  ) {
    this.config = model.config;
    this.#memory = tidy(() => noGrad(() => model.encode(source, [1, source.length]).contiguousCopy()))
      .asParameter()
      .freeze();
    this.#crossCaches = Array.from({ length: model.config.nLayer }, () => new CrossCache());
  }
  /** The logits (B, V) of the last place of B texts, all about the one source. */
  nextLogits(ids: Int32Array, [B, T]: readonly [number, number], { caches }: Pick<Context, 'caches'>): Tensor {
    if (B !== this.#rows) for (const cache of this.#crossCaches) cache.clear();
    this.#rows = B;
    const [, S, C] = this.#memory.shape;
    const memory = B === 1 ? this.#memory : this.#memory.expand([B, S, C]);
    const hidden = this.model.decode(ids, [B, T], memory, { caches, crossCaches: this.#crossCaches });
    return this.model.logits(hidden.slice(1, T - 1, T).reshape([B, hidden.shape[2]]));
  }
  newCaches(B: number, length?: number): AttentionCache[] {
    return this.model.newCaches(B, length);
  }
  [Symbol.dispose](): void {
    this.#memory.free('its writer was disposed of');
    for (const cache of this.#crossCaches) cache[Symbol.dispose]();
  }
}
