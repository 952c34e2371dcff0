// ConvS2S: encoder-decoder of gated convolutions, with attention in every layer of the decoder. Gehring et al. 2017.
// B batch · S source tokens · T target tokens · C = dModel channels · K taps · V vocabulary

import { attention, type Context, LearnedPositions, paddingMask } from '../attention/index.ts';
import { dropout, Embedding, Linear } from '../nn/index.ts';
import { concat, linear, linearCrossEntropy, type Rng, Tensor, tidy } from '../tensor/index.ts';
import type { EncoderContext } from './bert.ts';
import { Convolution, glu } from './cnn.ts';
import { type DecodeContext, type EncoderDecoder, type PairBatch, recordAs, targetStates } from './encoder-decoder.ts';
import { CarriedState } from './recurrent-state.ts';

export interface ConvTranslatorConfig {
  /** One vocabulary, one embedding, which is the output matrix, too. */
  vocabSize: number;
  /** Rows of the position table. */
  contextLength?: number;
  nLayer: number;
  dModel: number;
  /** Taps of each convolution, an odd number. */
  width?: number;
  dropout?: number;
}

/** Adding two signals of variance 1 gives 2; √½ takes it back. §3.4 */
const HALF = Math.sqrt(0.5);

/** x + GLU(conv(x)), scaled. */
class EncoderBlock {
  readonly conv: Convolution;

  constructor(C: number, width: number, rng: Rng) {
    this.conv = new Convolution({ dIn: C, dOut: 2 * C, width, std: 2 / Math.sqrt(width * C), rng });
  }
  forward(x: Tensor): Tensor {
    return tidy(() => x.add(glu(this.conv.forward(x))).mul(HALF), 'block');
  }
}

/** A causal gated convolution, then a look at the source: its output and its embeddings together. §3.2, §3.3 */
class DecoderBlock {
  readonly conv: Convolution;
  readonly queryProj: Linear;
  readonly outProj: Linear;

  constructor(C: number, width: number, rng: Rng) {
    this.conv = new Convolution({ dIn: C, dOut: 2 * C, width, causal: true, std: 2 / Math.sqrt(width * C), rng });
    this.queryProj = new Linear(C, C, { std: 1 / Math.sqrt(C), rng });
    this.outProj = new Linear(C, C, { std: 1 / Math.sqrt(C), rng });
  }
  /** `embedded`: the target as it came in; keys (B, 1, S, C) and values (B, 1, S, C) of the source. */
  forward(x: Tensor, embedded: Tensor, keys: Tensor, values: Tensor, ctx: DecodeContext, carried?: CarriedState): Tensor {
    const { B, T, C } = x.dims('B T C');
    return tidy(() => {
      const y = glu(this.conv.forward(x, carried));
      const query = this.queryProj.forward(y).add(embedded).mul(HALF).reshape([B, 1, T, C]);
      const seen = attention(query, keys, values, {
        mask: ctx.lengths && paddingMask(ctx.lengths, keys.shape[2]),
        record: ctx.record && ((name, weights) => ctx.record!(`cross.${name}`, weights)),
      });
      const z = y.add(this.outProj.forward(seen.reshape([B, T, C]))).mul(HALF);
      return x.add(z).mul(HALF);
    }, 'block');
  }
}

export class ConvTranslator implements EncoderDecoder {
  readonly config: Required<ConvTranslatorConfig>;
  readonly tokenEmbedding: Embedding;
  readonly positions: LearnedPositions;
  readonly encoder: EncoderBlock[];
  readonly decoder: DecoderBlock[];

  constructor(config: ConvTranslatorConfig, rng: Rng) {
    this.config = { contextLength: 512, width: 3, dropout: 0, ...config };
    const { vocabSize, contextLength, nLayer, dModel: C, width } = this.config;
    this.tokenEmbedding = new Embedding(vocabSize, C, { std: 0.1, rng });
    this.positions = new LearnedPositions(contextLength, C, { std: 0.1, rng });
    this.encoder = Array.from({ length: nLayer }, () => new EncoderBlock(C, width, rng));
    this.decoder = Array.from({ length: nLayer }, () => new DecoderBlock(C, width, rng));
  }

  #embed(ids: Int32Array, [B, T]: readonly [number, number], start: number, ctx: Context): Tensor {
    return dropout(this.tokenEmbedding.forward(ids, [B, T]).add(this.positions.forward(T, start)), this.config.dropout, ctx);
  }
  /** → the keys beside the values (the output plus the embeddings, which know the very token): (B, S, 2C). */
  encode(ids: Int32Array, [B, S]: readonly [number, number], ctx: EncoderContext = {}): Tensor {
    const embedded = this.#embed(ids, [B, S], 0, ctx);
    // A convolution would see padding; zeros are what it sees beyond the end of a text.
    const real = ctx.lengths && realPlaces(ctx.lengths, S);
    let x = real ? embedded.mul(real) : embedded;
    for (const block of this.encoder) {
      x = block.forward(dropout(x, this.config.dropout, ctx));
      if (real) x = x.mul(real);
    }
    return concat([x, x.add(embedded).mul(HALF)]);
  }
  decode(ids: Int32Array, [B, T]: readonly [number, number], memory: Tensor, ctx: DecodeContext = {}): Tensor {
    const [keys, values] = memory.split(2).map((part) => part.reshape([B, 1, part.shape[1], part.shape[2]]));
    const caches = ctx.caches as readonly CarriedState[] | undefined;
    const embedded = this.#embed(ids, [B, T], caches?.[0]?.length ?? 0, ctx);
    let x = embedded;
    for (const [i, block] of this.decoder.entries()) {
      const named = { ...ctx, record: recordAs(`blocks.${i}`, ctx) };
      x = block.forward(dropout(x, this.config.dropout, ctx), embedded, keys, values, named, caches?.[i]);
    }
    return x;
  }
  logits(hidden: Tensor): Tensor {
    return linear(hidden, this.tokenEmbedding.weight);
  }
  loss(batch: PairBatch, ctx: Context = {}): Tensor {
    return linearCrossEntropy(targetStates(this, batch, ctx), this.tokenEmbedding.weight, batch.targets);
  }
  newCaches(): CarriedState[] {
    return this.decoder.map(() => new CarriedState());
  }
}

/** 1 at real tokens, 0 at padding: (B, S, 1). */
function realPlaces(lengths: readonly number[], S: number): Tensor {
  const values = new Float32Array(lengths.length * S);
  lengths.forEach((n, b) => values.fill(1, b * S, b * S + n));
  return Tensor.from(values, [lengths.length, S, 1]);
}
