// Encoder-decoder of recurrent cells, as it was before 2017: the comparison for the Transformer.
// B batch · S source tokens · T target tokens · C = dModel channels · V vocabulary

import { AdditiveScore, attention, type Context, GeneralScore, paddingMask } from '../attention/index.ts';
import { dropout, Embedding, Linear } from '../nn/index.ts';
import { check, concat, linear, linearCrossEntropy, type Rng, type Tensor } from '../tensor/index.ts';
import type { EncoderContext } from './bert.ts';
import { type DecodeContext, type EncoderDecoder, type PairBatch, targetStates } from './encoder-decoder.ts';
import { CarriedState } from './recurrent-state.ts';
import { Cell, type CellKind, type CellState, Recurrent } from './rnn.ts';

export interface RnnTranslatorConfig {
  /** One vocabulary, one embedding, which is the output matrix, too. */
  vocabSize: number;
  contextLength?: number;
  kind?: CellKind;
  dModel: number;
  /**
   * none: all that the decoder knows of the source is one vector. Sutskever et al. 2014.
   * additive: the state before a token chooses what to look at. Bahdanau et al. 2015.
   * general: the state after it does, qᵀWk. Luong et al. 2015.
   */
  attention?: 'none' | 'additive' | 'general';
  dropout?: number;
}

/** A bidirectional encoder, one decoding cell, and attention between them. */
export class RnnTranslator implements EncoderDecoder {
  readonly config: Required<RnnTranslatorConfig> & { nLayer: number };
  readonly tokenEmbedding: Embedding;
  readonly encoder: Recurrent;
  readonly bridge: Linear;
  readonly cell: Cell;
  readonly score?: AdditiveScore | GeneralScore;
  readonly readout: Linear;

  constructor(config: RnnTranslatorConfig, rng: Rng) {
    this.config = { contextLength: 512, kind: 'lstm', attention: 'additive', dropout: 0, ...config, nLayer: 1 };
    const { vocabSize, dModel: C, kind, attention: look } = this.config;
    check(C % 2 === 0, `RnnTranslator: dModel (${C}) must be even: half of it reads forwards, half backwards`);
    const std = 1 / Math.sqrt(C);
    this.tokenEmbedding = new Embedding(vocabSize, C, { std: 0.1, rng });
    this.encoder = new Recurrent({ kind, dIn: C, dModel: C / 2, bidirectional: true, rng });
    this.bridge = new Linear(C, C, { std, rng });
    this.cell = new Cell(kind, look === 'additive' ? 2 * C : C, C, rng);
    if (look === 'additive') this.score = new AdditiveScore(C, C, C, { rng });
    if (look === 'general') this.score = new GeneralScore(C, C, { rng });
    this.readout = new Linear(look === 'none' ? C : 2 * C, C, { std, rng });
  }

  encode(ids: Int32Array, shape: readonly [number, number], ctx: EncoderContext = {}): Tensor {
    const x = dropout(this.tokenEmbedding.forward(ids, shape), this.config.dropout, ctx);
    return this.encoder.forward(x, { lengths: ctx.lengths }).y;
  }

  /** → tanh(W [state; what was looked at]) at every place, (B, T, C). */
  decode(ids: Int32Array, [B, T]: readonly [number, number], memory: Tensor, ctx: DecodeContext = {}): Tensor {
    const carried = ctx.caches?.[0] as CarriedState | undefined;
    const x = dropout(this.tokenEmbedding.forward(ids, [B, T]), this.config.dropout, ctx); // (B, T, C)
    const start = carried?.held ? { h: carried.held[0], c: carried.held[1] } : this.#begin(memory);
    const { parts, state } =
      this.config.attention === 'additive' ? this.#lookFirst(x, memory, start, ctx) : this.#lookAfter(x, memory, start, ctx);
    carried?.advance(T, state.c ? [state.h, state.c] : [state.h]);
    return this.readout.forward(dropout(concat(parts), this.config.dropout, ctx)).tanh();
  }

  /** The first state, from the place of the memory where the backward cell has read everything. Bahdanau et al. 2015, §A.2.2. */
  #begin(memory: Tensor): CellState {
    const { B, C } = memory.dims('B S C');
    const h = this.bridge.forward(memory.slice(1, 0, 1).reshape([B, C])).tanh();
    return { ...this.cell.begin(B), h };
  }

  /** Luong: run all tokens, then every state looks; nothing waits for it. */
  #lookAfter(x: Tensor, memory: Tensor, start: CellState, ctx: DecodeContext) {
    const { y, state } = this.cell.run(x, { state: start });
    return { parts: this.score ? [y, this.#look(y, memory, ctx)] : [y], state };
  }

  /** Bahdanau: the last state looks, and what it sees is part of the next input. */
  #lookFirst(x: Tensor, memory: Tensor, start: CellState, ctx: DecodeContext) {
    const { B, T, C } = x.dims('B T C');
    const rows: Tensor[] = [];
    const quiet = { ...ctx, record: ctx.record && ((_: string, weights: Tensor) => void rows.push(weights)) };
    const [states, seen]: [Tensor[], Tensor[]] = [[], []];
    let state = start;
    for (let t = 0; t < T; t++) {
      const context = this.#look(state.h.reshape([B, 1, C]), memory, quiet); // (B, 1, C)
      state = this.cell.step(concat([x.slice(1, t, t + 1), context]).reshape([B, 2 * C]), state);
      states.push(state.h.reshape([B, 1, C]));
      seen.push(context);
    }
    if (ctx.record) ctx.record('cross.attn.weights', concat(rows, 2));
    return { parts: [concat(states, 1), concat(seen, 1)], state };
  }

  /** queries (B, T, C) → what they see of the memory, (B, T, C) */
  #look(queries: Tensor, memory: Tensor, ctx: DecodeContext): Tensor {
    const [B, S] = memory.shape;
    const one = (x: Tensor): Tensor => x.reshape([x.shape[0], 1, x.shape[1], x.shape[2]]); // a single head
    const y = attention(one(queries), one(memory), one(memory), {
      score: this.score,
      mask: ctx.lengths && paddingMask(ctx.lengths, S),
      record: ctx.record && ((name, weights) => ctx.record!(`cross.${name}`, weights)),
    });
    return y.reshape([B, queries.shape[1], memory.shape[2]]);
  }

  logits(hidden: Tensor): Tensor {
    return linear(hidden, this.tokenEmbedding.weight);
  }
  loss(batch: PairBatch, ctx: Context = {}): Tensor {
    return linearCrossEntropy(targetStates(this, batch, ctx), this.tokenEmbedding.weight, batch.targets);
  }
  newCaches(): CarriedState[] {
    return [new CarriedState()];
  }
}
