// B batch · S source tokens · T target tokens · C = dModel channels · H heads · D head channels · F MLP width · V vocabulary

import {
  type Context,
  CrossAttention,
  inLayer,
  KVCache,
  type LayerContext,
  paddingMask,
  RelativeBias,
  SelfAttention,
} from '../attention/index.ts';
import { dropout, Embedding, GeGLU, Linear, MLP, RMSNorm } from '../nn/index.ts';
import { linear, linearCrossEntropy, type Rng, type Tensor, tidy } from '../tensor/index.ts';
import type { EncoderContext } from './bert.ts';
import { type DecodeContext, type EncoderDecoder, type PairBatch, targetStates } from './encoder-decoder.ts';

export interface T5Config {
  vocabSize: number;
  /** Room of the caches while writing; the model itself knows distances, not places, and has no limit. */
  contextLength?: number;
  /** Blocks of the decoder, and of the encoder when that has not its own number. */
  nLayer: number;
  nEncoderLayer?: number;
  nHead: number;
  headDim?: number;
  dModel: number;
  dFF?: number;
  /** GELU gate in the MLP (T5 v1.1, Flan, mT5) instead of one ReLU. Shazeer 2020. */
  gated?: boolean;
  /** Output weights shared with the embedding; hidden states are then scaled by 1/√C. */
  tied?: boolean;
  nBuckets?: number;
  /** Distance from which on all keys share one bucket. */
  maxDistance?: number;
  normEps?: number;
  dropout?: number;
}

export const t5Defaults = (c: T5Config) => ({
  contextLength: 512,
  nEncoderLayer: c.nLayer,
  headDim: c.dModel / c.nHead,
  dFF: 4 * c.dModel,
  gated: false,
  tied: true,
  nBuckets: 32,
  maxDistance: 128,
  normEps: 1e-6,
  dropout: 0,
  ...c,
});
type Config = Required<T5Config>;

/** Pre-norm block: self-attention, in a decoder cross-attention, then the MLP. Scores are not divided by √D: the initial weights are smaller instead. */
class Block {
  readonly attnNorm: RMSNorm;
  readonly attn: SelfAttention;
  readonly crossNorm?: RMSNorm;
  readonly cross?: CrossAttention;
  readonly mlpNorm: RMSNorm;
  readonly mlp: MLP | GeGLU;
  readonly #dropout: number;

  constructor(c: Config, kind: 'encoder' | 'decoder', rng: Rng) {
    const { dModel, nHead, headDim, dFF, gated, normEps, dropout: p } = c;
    this.#dropout = p;
    const site = { dModel, nHead, headDim, bias: false, scale: 1, dropout: p, ...stds(dModel, nHead * headDim), rng };
    this.attnNorm = new RMSNorm(dModel, normEps);
    this.attn = new SelfAttention({ ...site, causal: kind === 'decoder' });
    shrinkQueries(this.attn, headDim);
    if (kind === 'decoder') {
      this.crossNorm = new RMSNorm(dModel, normEps);
      this.cross = new CrossAttention(site);
      shrinkQueries(this.cross, headDim);
    }
    this.mlpNorm = new RMSNorm(dModel, normEps);
    const mlp = { dModel, dFF, bias: false, ...stds(dModel, dFF), rng };
    this.mlp = gated ? new GeGLU(mlp) : new MLP({ ...mlp, activation: 'relu' });
  }
  forward(x: Tensor, ctx: LayerContext, source?: Source): Tensor {
    return tidy(() => {
      x = tidy(() => x.add(this.attn.forward(this.attnNorm.forward(x), ctx)), 'attention');
      if (source) {
        const { memory, mask, cache } = source;
        x = x.add(this.cross!.forward(this.crossNorm!.forward(x), memory, { ...ctx, mask, cache }));
      }
      return x.add(dropout(this.mlp.forward(this.mlpNorm.forward(x)), this.#dropout, ctx));
    }, 'block');
  }
}
type Source = { memory: Tensor; mask?: Tensor; cache?: NonNullable<DecodeContext['crossCaches']>[number] };

/** 1/√(channels summed), of what reads the stream and of what writes to it. Raffel et al. 2019, in their code. */
const stds = (dIn: number, dInner: number) => ({ std: dIn ** -0.5, residualStd: dInner ** -0.5 });
/** The 1/√D that other models apply to the scores at every step, T5 applies once to the initial query weights. */
const shrinkQueries = ({ qProj }: { qProj: Linear }, D: number): void =>
  tidy(() => qProj.weight.copyFrom(qProj.weight.detach().mul(D ** -0.5)));

/** A stack of blocks with one table of relative positions, which all its layers share. */
class Stack {
  readonly relativeBias: RelativeBias;
  readonly blocks: Block[];
  readonly norm: RMSNorm;
  readonly #dropout: number;

  constructor(c: Config, kind: 'encoder' | 'decoder', rng: Rng) {
    const { nHead: H, nBuckets, maxDistance, dModel, dropout: p } = c;
    this.#dropout = p;
    this.relativeBias = new RelativeBias(H, {
      bidirectional: kind === 'encoder',
      nBuckets,
      maxDistance,
      std: dModel ** -0.5,
      rng,
    });
    this.blocks = Array.from({ length: kind === 'encoder' ? c.nEncoderLayer : c.nLayer }, () => new Block(c, kind, rng));
    this.norm = new RMSNorm(dModel, c.normEps);
  }
  /** x (B, T, C) embedded tokens → (B, T, C), normed. */
  forward(x: Tensor, ctx: DecodeContext, padding?: Tensor, source?: { memory: Tensor; mask?: Tensor }): Tensor {
    const { T } = x.dims('B T C');
    const bias = this.relativeBias.bias(T, T + (ctx.caches?.[0]?.length ?? 0)); // (1, H, T, S)
    const mask = padding ? bias.add(padding) : bias;
    x = dropout(x, this.#dropout, ctx);
    ctx.record?.('embeddings', x.detach());
    for (const [i, block] of this.blocks.entries()) {
      const layer = inLayer({ ...ctx, mask }, i);
      x = block.forward(x, layer, source && { ...source, cache: ctx.crossCaches?.[i] });
      layer.record?.('output', x.detach());
    }
    return dropout(this.norm.forward(x), this.#dropout, ctx);
  }
}

/** T5: every task as text to text. Relative positions, RMS norm before each branch, no biases. Raffel et al. 2019. */
export class T5 implements EncoderDecoder {
  readonly config: Config;
  readonly tokenEmbedding: Embedding;
  readonly encoder: Stack;
  readonly decoder: Stack;
  readonly lmHead?: Linear;

  constructor(config: T5Config, rng: Rng) {
    this.config = t5Defaults(config);
    const { vocabSize, dModel, tied } = this.config;
    // T5 begins at σ = 1. As the head of a tied model that would be logits of variance 1, a first loss above that of a guess.
    this.tokenEmbedding = new Embedding(vocabSize, dModel, { std: tied ? 0.1 : 1, rng });
    this.encoder = new Stack(this.config, 'encoder', rng);
    this.decoder = new Stack(this.config, 'decoder', rng);
    // GPT's σ, so that the first loss is that of a guess; transformers begins at 1.
    if (!tied) this.lmHead = new Linear(dModel, vocabSize, { bias: false, std: 0.02, rng });
  }

  encode(ids: Int32Array, [B, S]: readonly [number, number], ctx: EncoderContext = {}): Tensor {
    const { lengths } = ctx;
    return this.encoder.forward(this.tokenEmbedding.forward(ids, [B, S]), ctx, lengths && paddingMask(lengths, S));
  }
  decode(ids: Int32Array, shape: readonly [number, number], memory: Tensor, ctx: DecodeContext = {}): Tensor {
    const { S } = memory.dims('B S C');
    const mask = ctx.lengths && paddingMask(ctx.lengths, S);
    return this.decoder.forward(this.tokenEmbedding.forward(ids, shape), ctx, undefined, { memory, mask });
  }
  logits(hidden: Tensor): Tensor {
    const { x, weight } = this.#head(hidden);
    return linear(x, weight);
  }
  loss(batch: PairBatch, ctx: Context = {}): Tensor {
    const { x, weight } = this.#head(targetStates(this, batch, ctx));
    return linearCrossEntropy(x, weight, batch.targets);
  }
  #head(hidden: Tensor): { x: Tensor; weight: Tensor } {
    if (this.lmHead) return { x: hidden, weight: this.lmHead.weight };
    return { x: hidden.mul(this.config.dModel ** -0.5), weight: this.tokenEmbedding.weight };
  }
  newCaches(B: number, length = this.config.contextLength): KVCache[] {
    const { nLayer, nHead, headDim } = this.config;
    return Array.from({ length: nLayer }, () => new KVCache(B, nHead, length, headDim));
  }
}
